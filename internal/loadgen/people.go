package loadgen

import "fmt"

// agents lists the user agents of ordinary browsers, the common ones several times. The device type
// is the one that the gateway derives.
func agents() []agent {
	const (
		windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
		edge    = windows + " Edg/%[1]d.0.0.0"
		mac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.1 Safari/605.1.15"
		firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%[1]d.0"
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS %d_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%[1]d.1 Mobile/15E148 Safari/604.1"
		android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile Safari/537.36"
		tablet  = "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
		ipad    = "Mozilla/5.0 (iPad; CPU OS %d_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%[1]d.1 Mobile/15E148 Safari/604.1"
	)
	var list []agent
	for _, b := range []struct {
		format, device      string
		first, last, weight int
	}{
		{windows, "desktop", 136, 142, 6}, {edge, "desktop", 138, 142, 2}, {mac, "desktop", 16, 19, 3},
		{firefox, "desktop", 138, 144, 1}, {iphone, "mobile", 16, 19, 9}, {android, "mobile", 134, 142, 6},
		{tablet, "tablet", 138, 142, 1}, {ipad, "tablet", 16, 18, 2},
	} {
		for version := b.first; version <= b.last; version++ {
			for range b.weight {
				list = append(list, agent{fmt.Sprintf(b.format, version), b.device})
			}
		}
	}
	return list
}

// bots are user agents that the default policy's list names.
var bots = []agent{
	{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"},
	{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bot"},
	{"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "bot"},
	{"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "bot"},
	{"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "bot"},
	{"Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)", "bot"},
}

// pages are the pages on which ads are shown; a third of the browsers does not name it.
func pages() []string {
	var list []string
	for _, site := range []string{
		"news.example", "daily-herald.example", "weather.example", "recipes.example", "football.example",
		"video.example", "forum.example", "travel.example",
	} {
		list = append(list, "https://www."+site+"/")
		for i := range 12 {
			list = append(list, fmt.Sprintf("https://www.%s/%d/article-%08x.html", site, 2026-i%3, mix32(uint32(i+len(list)))))
		}
	}
	return append(list, make([]string, len(list)/2)...)
}

// places are countries, the common ones several times; one in fifty is unknown.
func places() []string {
	var list []string
	for _, p := range []struct {
		code   string
		weight int
	}{
		{"US", 30}, {"DE", 14}, {"GB", 12}, {"IN", 10}, {"BR", 7}, {"FR", 7}, {"JP", 5}, {"IT", 4},
		{"ES", 3}, {"PL", 2}, {"NL", 2}, {"SE", 1}, {"CH", 1}, {"", 2},
	} {
		for range p.weight {
			list = append(list, p.code)
		}
	}
	return list
}
