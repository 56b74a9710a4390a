"use strict";
(() => {
  const byID = (id) => document.getElementById(id);
  const tokenKey = "clickledger.token", themeKey = "clickledger.theme";
  const livePeriod = 500, slowPeriod = 10000, failedPeriod = 3000, answerTimeout = 20000;
  const state = { session: null, timers: [], tags: new Map(), view: 0, shown: "", updated: "", hint: "", problems: new Map(), answered: new Map() };

  // ---- asking the API

  class Problem extends Error {
    constructor(status, doc) {
      super((doc && (doc.detail || doc.title)) || "the server answered " + status);
      this.status = status;
      if (doc && doc.errors) this.message = doc.errors.map((e) => e.parameter + ": " + e.detail).join("; ");
    }
  }

  async function ask(path, parameters) {
    const url = path + (parameters ? "?" + new URLSearchParams(parameters) : "");
    const headers = { Authorization: "Bearer " + sessionStorage.getItem(tokenKey), Accept: "application/json" };
    const known = state.tags.get(path);
    if (known && known.url === url) headers["If-None-Match"] = known.tag;
    const answer = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(answerTimeout) });
    if (answer.status === 304) return known.doc;
    if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
    const doc = await answer.json();
    state.tags.set(path, { url, tag: answer.headers.get("ETag"), doc });
    return doc;
  }

  // ---- signing in and out

  async function signIn(token) {
    stop();
    const { view } = state;
    sessionStorage.setItem(tokenKey, token);
    let session;
    try {
      session = await ask("/api/v1/session");
    } catch (problem) {
      if (view !== state.view) return;
      if (problem.status && problem.status < 500 && problem.status !== 429) return signOut("This token is not accepted: " + problem.message + ".");
      byID("sign-in").hidden = false;
      byID("sign-in-error").textContent = "The server does not answer; trying again.";
      state.timers.push(setTimeout(() => signIn(token), failedPeriod)); // the token may be good
      return;
    }
    if (view !== state.view) return;
    state.session = session;
    const isAdmin = session.role === "admin";
    byID("who").textContent = isAdmin ? "administrator " + session.subject : session.advertiser_id;
    byID("advertiser-field").hidden = !isAdmin;
    byID("advertiser").value = session.advertiser_id || byID("advertiser").value || new URLSearchParams(location.hash.slice(1)).get("advertiser") || "";
    byID("token").value = byID("sign-in-error").textContent = "";
    byID("sign-in").hidden = true;
    byID("dashboard").hidden = byID("sign-out").hidden = false;
    byID("month").max = new Date().toISOString().slice(0, 7);
    if (!byID("month").value) byID("month").value = byID("month").max;
    restart();
    (isAdmin && !byID("advertiser").value ? byID("advertiser") : byID("main")).focus();
  }

  function signOut(message) {
    sessionStorage.removeItem(tokenKey);
    stop();
    state.tags.clear();
    state.session = null;
    blank();
    byID("dashboard").hidden = byID("sign-out").hidden = true;
    byID("sign-in").hidden = false;
    byID("who").textContent = byID("advertiser").value = byID("token").value = "";
    byID("sign-in-error").textContent = message || "";
    byID("token").focus();
  }

  const empty = (...ids) => { for (const id of ids) byID(id).textContent = ""; };

  // blankTable takes a table away, but for one that is folded up.
  function blankTable(id) {
    fill(byID(id), []);
    byID(id).hidden = id !== "series-table";
  }

  // blankSeries takes away the totals and the charts.
  function blankSeries() {
    state.points = null;
    for (const id of ["total-clicks", "total-spend", "total-ctr", "total-invalid"]) {
      byID(id).textContent = "–";
      delete byID(id).dataset.value;
    }
    empty("total-state", "total-price", "total-impressions", "total-duplicates", "updated");
    blankTable("series-table");
    for (const [id, name] of [["chart-clicks", "Clicks"], ["chart-spend", "Spend"], ["chart-ctr", "CTR"]]) byID(id).setAttribute("aria-label", name + ": nothing to show");
    charts.clear();
  }

  // blankTop takes away the other numbers of a range.
  function blankTop() {
    for (const id of ["top-campaigns", "top-ads", "rules"]) blankTable(id);
    for (const e of document.querySelectorAll(".empty")) e.hidden = true;
    empty("rules-note");
  }

  // blank takes away all numbers: nobody shall see those of another.
  function blank() {
    state.shown = state.hint = "";
    blankSeries();
    blankTop();
    blankTable("causes");
    empty("balance-note", "reconciliation-note", "statement-error");
    for (const id of ["balance", "reconciliation"]) {
      describe(id, []);
      delete byID(id).dataset.value;
    }
    byID("campaign").replaceChildren(new Option("all campaigns", ""));
  }

  // ---- what is shown

  function span() {
    const range = byID("range").value;
    if (range === "custom") {
      const seconds = (id) => Math.floor(Date.parse(byID(id).value + "Z") / 1000);
      return { from: seconds("from"), to: seconds("to"), isLive: false };
    }
    const now = Math.floor(Date.now() / 1000);
    return { from: now - Number(range), to: now + 1, isLive: true };
  }

  const steps = { "1m": 60, "5m": 300, "1h": 3600, "1d": 86400 };
  function granularity(length) {
    return length <= 6 * 3600 ? "1m" : length <= 86400 ? "5m" : length <= 14 * 86400 ? "1h" : "1d";
  }

  // choice is what the visitor has chosen: numbers of another choice are not left beside it.
  const choice = () => ["range", "from", "to", "campaign"].map((id) => byID(id).value).join(" ");

  // say shows the problem of a loop until that loop succeeds, else the hint.
  function say() {
    const status = byID("status"), problem = state.problems.get(live) || state.problems.get(slow), text = problem || state.hint;
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle("bad", Boolean(problem));
  }

  function parameters() {
    const { from, to } = span();
    const p = { advertiser_id: byID("advertiser").value.trim(), start_time: from, end_time: to };
    if (byID("campaign").value) p.campaign_id = byID("campaign").value;
    return p;
  }

  async function series(p) {
    const step = granularity(p.end_time - p.start_time);
    const doc = await ask("/api/v1/advertisers/analytics", { ...p, granularity: step, group_by: "none", limit: 10000 });
    return { doc, step };
  }

  function showSeries({ doc, step }) {
    const seconds = steps[step], points = new Map(doc.series.map((p) => [p.timestamp, p])), all = [];
    for (let at = doc.start_time; at < doc.end_time; at += seconds) {
      all.push(points.get(at) || { timestamp: at, clicks: 0, spend_micros: 0, impressions: 0, ctr: null, invalid_clicks: 0, duplicate_clicks: 0, is_final: false });
    }
    const sum = { clicks: 0, spend_micros: 0, impressions: 0, invalid_clicks: 0, duplicate_clicks: 0, final: 0 };
    for (const p of doc.series) {
      for (const key of ["clicks", "spend_micros", "impressions", "invalid_clicks", "duplicate_clicks"]) sum[key] += p[key];
      if (p.is_final) sum.final += p.clicks;
    }
    const set = (id, text, value) => { byID(id).textContent = text; if (value !== undefined) byID(id).dataset.value = value; };
    set("total-clicks", format.whole(sum.clicks), sum.clicks);
    set("total-state", sum.clicks ? format.whole(sum.final) + " of them final" : "none in this range");
    set("total-spend", format.money(sum.spend_micros, doc.currency), sum.spend_micros);
    set("total-price", sum.clicks ? format.money(sum.spend_micros / sum.clicks, doc.currency) + " a click" : "");
    set("total-ctr", format.rate(sum.clicks, sum.impressions), sum.impressions);
    set("total-impressions", sum.impressions ? format.whole(sum.impressions) + " impressions" : "no impressions were recorded");
    set("total-invalid", format.whole(sum.invalid_clicks + sum.duplicate_clicks), sum.invalid_clicks + sum.duplicate_clicks);
    set("total-duplicates", format.whole(sum.invalid_clicks) + " invalid, " + format.whole(sum.duplicate_clicks) + " duplicates");
    const per = { "1m": "a minute", "5m": "in five minutes", "1h": "an hour", "1d": "a day" }[step];
    for (const e of document.querySelectorAll(".per")) e.textContent = per;
    const bars = (value) => all.map((p) => ({ at: p.timestamp, value: value(p), isFinal: p.is_final }));
    charts.draw("chart-clicks", bars((p) => p.clicks), format.short, "no clicks in this range");
    charts.draw("chart-spend", bars((p) => p.spend_micros / 1e6), format.short, "no spend in this range");
    charts.draw("chart-ctr", bars((p) => p.ctr === null ? null : 100 * p.ctr), (v) => format.short(v) + " %", "no impressions in this range");
    const label = (what, total) => what + " " + per + " from " + format.time(doc.start_time) + " to " + format.time(doc.end_time) + " UTC, in total " + total + ". The table below has each value.";
    byID("chart-clicks").setAttribute("aria-label", label("Clicks", format.whole(sum.clicks)));
    byID("chart-spend").setAttribute("aria-label", label("Spend", format.money(sum.spend_micros, doc.currency)));
    byID("chart-ctr").setAttribute("aria-label", label("CTR", format.rate(sum.clicks, sum.impressions)));
    state.points = doc;
    if (byID("series-details").open) showTable();
  }

  // amount is money to be written, with its millionths beside it; the currency may be left out.
  const amount = (micros, currency) => ({ text: format.money(micros, currency), value: micros });

  function write(element, content) {
    element.textContent = content.text === undefined ? content : content.text;
    if (content.value !== undefined) element.dataset.value = content.value;
  }

  function fill(table, rows) {
    const body = table.tBodies[0];
    body.replaceChildren(...rows.map((cells) => {
      const tr = document.createElement("tr");
      cells.forEach((cell, i) => {
        const td = document.createElement(i === 0 ? "th" : "td");
        if (i === 0) td.scope = "row";
        if (cell instanceof Node) td.append(cell); else write(td, cell);
        tr.append(td);
      });
      return tr;
    }));
  }

  // fillMoney fills a table whose amounts are all in the currency, which its heading names.
  function fillMoney(table, currency, rows) {
    table.querySelector(".unit").textContent = currency ? "(" + currency + ")" : "";
    fill(table, rows);
  }

  function showTable() {
    const doc = state.points;
    if (!doc) return;
    fillMoney(byID("series-table"), doc.currency, doc.series.toReversed().map((p) => [format.time(p.timestamp), format.whole(p.clicks), amount(p.spend_micros),
      format.whole(p.impressions), format.rate(p.clicks, p.impressions), format.whole(p.invalid_clicks), format.whole(p.duplicate_clicks), p.is_final ? "final" : "provisional"]));
  }

  // withShare is a name over a bar of its part of the whole.
  function withShare(name, part, whole) {
    const box = document.createElement("span"), bar = document.createElement("span");
    box.textContent = name;
    bar.className = "share";
    bar.style.width = (whole > 0 ? Math.max(1, 100 * part / whole) : 0) + "%";
    box.append(bar);
    return box;
  }

  function showTop(id, doc) {
    const most = doc.items.reduce((m, i) => Math.max(m, i.spend_micros), 0);
    fillMoney(byID(id), doc.currency, doc.items.slice(0, 10).map((i) => [withShare(i.id, i.spend_micros, most), format.whole(i.clicks), amount(i.spend_micros), format.rate(i.clicks, i.impressions)]));
    byID(id).hidden = doc.items.length === 0;
    byID(id).parentElement.querySelector(".empty").hidden = doc.items.length > 0;
  }

  function showCampaigns(doc) {
    const select = byID("campaign"), chosen = select.value;
    const ids = doc.items.map((i) => i.id);
    if (chosen && !ids.includes(chosen)) ids.push(chosen);
    const wanted = ["", ...ids.sort()];
    if (wanted.join("\n") === [...select.options].map((o) => o.value).join("\n")) return;
    select.replaceChildren(...wanted.map((id) => new Option(id || "all campaigns", id, false, id === chosen)));
  }

  function showRules(doc) {
    const { state: known, rules, days } = doc.by_rule;
    const most = rules.reduce((m, r) => Math.max(m, r.clicks), 0);
    fillMoney(byID("rules"), doc.currency, rules.map((r) => [withShare(r.rule, r.clicks, most), format.whole(r.clicks), amount(r.cost_micros)]));
    byID("rules").hidden = rules.length === 0;
    const live = format.whole(doc.invalid_clicks) + " invalid clicks in the range. ";
    byID("rules-note").textContent = live + ({
      ready: days.length ? "By rule: the whole of " + (days.length > 1 ? days[0] + " to " + days.at(-1) : days[0]) + ", all campaigns, as the batch layer judged; a click that several rules hit is in each." : "",
      pending: "The rules are being counted.",
      none: "Rules are counted once the batch layer has judged the day.",
    })[known];
  }

  function describe(id, pairs) {
    byID(id).replaceChildren(...pairs.flatMap(([name, value]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      write(dd, value);
      return [dt, dd];
    }));
  }

  function showBalance(b) {
    const currency = b.currency || state.session.currency; // who was never billed has none
    describe("balance", [["Balance", format.decimal(b.balance) + " " + currency], ["Charged", amount(b.charged_micros, currency)], ["Paid", amount(b.paid_micros, currency)],
      ["Credited", amount(b.credited_micros, currency)], ["Credit limit", amount(b.credit_limit_micros, currency)]]);
    byID("balance").dataset.value = b.balance;
    byID("balance-note").textContent = b.is_over_limit ? "The credit limit is exceeded." : "A negative balance is owed.";
    byID("balance-note").classList.toggle("bad", b.is_over_limit);
  }

  function showReconciliation(r) {
    const { currency } = state.session;
    describe("reconciliation", [["Day", r.date + (r.is_complete ? "" : ", up to " + r.cut.slice(11, 16))], ["Posted", r.is_held ? "held" : r.is_posted ? "yes" : "no"],
      ["Difference", { text: format.clicks(r.difference_clicks) + ", " + format.money(r.difference_micros, currency), value: r.difference_micros }],
      ["Unexplained", format.clicks(r.unexplained_clicks)],
      ["Checks", r.gate.every((c) => c.is_ok) ? "all passed" : r.gate.filter((c) => !c.is_ok).map((c) => c.name).join(", ") + " failed"]]);
    const causes = r.causes.filter((c) => c.clicks || c.micros);
    fillMoney(byID("causes"), currency, causes.map((c) => [c.cause.replaceAll("_", " "), format.whole(c.clicks), amount(c.micros)]));
    byID("reconciliation").dataset.value = r.cut;
    byID("causes").hidden = causes.length === 0;
    byID("reconciliation-note").textContent = causes.length ? "" : "Stream and batch counted the same.";
  }

  // optional shows a panel, or why it is empty.
  async function optional(view, note, clear, get, show) {
    try {
      show(await get());
    } catch (problem) {
      if (view !== state.view || !problem.status || problem.status === 401) throw problem;
      clear();
      byID(note).textContent = problem.status === 404 ? "None yet: " + problem.message + "." : "Not available now: " + problem.message + ".";
    }
  }

  // ---- the two loops

  // live returns a hint to the visitor.
  async function live(view) {
    const p = parameters();
    if (!p.advertiser_id) return "Enter the advertiser whose numbers are to be shown.";
    if (!(p.end_time > p.start_time)) {
      blankSeries();
      blankTop();
      return "Choose a beginning, and an end after it.";
    }
    const got = await series(p);
    if (view !== state.view) return "";
    showSeries(got);
    state.updated = format.clock(new Date());
    byID("updated").textContent = "updated " + state.updated + " UTC" + (span().isLive ? ", live" : "");
    return got.doc.series.length ? "" : "No clicks were recorded in this range.";
  }

  async function slow(view) {
    const p = parameters(), id = p.advertiser_id;
    if (!id) return;
    const current = (show) => (doc) => { if (view === state.view) show(doc); };
    // These are of no range, and are shown whatever is wrong with it.
    await optional(view, "balance-note", () => { describe("balance", []); delete byID("balance").dataset.value; }, () => ask("/api/v1/advertisers/balance", { advertiser_id: id }), current(showBalance));
    await optional(view, "reconciliation-note", () => { describe("reconciliation", []); byID("causes").hidden = true; },
      () => ask("/api/v1/reconciliations/latest", { advertiser_id: id }), current(showReconciliation));
    if (!(p.end_time > p.start_time)) return;
    const { campaign_id: _, ...whole } = p;
    await ask("/api/v1/advertisers/top", { ...whole, by: "campaign", limit: 100 }).then(current((doc) => { showTop("top-campaigns", doc); showCampaigns(doc); }));
    state.tags.delete("/api/v1/advertisers/top");
    await ask("/api/v1/advertisers/top", { ...p, by: "ad", limit: 10 }).then(current((doc) => showTop("top-ads", doc)));
    state.tags.delete("/api/v1/advertisers/top");
    await ask("/api/v1/advertisers/invalid-traffic", p).then(current(showRules));
  }

  // why says what is wrong, and whether waiting helps.
  function why({ status, message }) {
    if (!status) return "The server does not answer; trying again.";
    if (status === 429) return "The server was asked too often; trying again more slowly.";
    if (status >= 500) return "The server has no answer now; trying again.";
    return "The numbers cannot be shown: " + message + ".";
  }

  function loop(work, period, view) {
    const round = async () => {
      let wait = period;
      try {
        if (!document.hidden) {
          const hint = await work(view);
          if (view !== state.view) return;
          state.problems.delete(work);
          state.answered.set(work, choice());
          if (work === live) state.hint = hint;
          say();
        }
      } catch (problem) {
        if (view !== state.view) return;
        if (problem.status === 401) return signOut("Signed out: " + problem.message + ".");
        wait = problem.status === 429 ? slowPeriod : failedPeriod;
        if (state.answered.get(work) !== choice()) (work === live ? blankSeries : blankTop)();
        state.problems.set(work, why(problem));
        if (work === live && state.points) byID("updated").textContent = "as of " + state.updated + " UTC";
        say();
      }
      if (view === state.view) state.timers.push(setTimeout(round, wait));
    };
    round();
  }

  function stop() {
    state.view++;
    for (const timer of state.timers) clearTimeout(timer);
    state.timers = [];
  }

  function restart() {
    stop();
    state.tags.clear();
    state.problems.clear();
    const id = byID("advertiser").value.trim();
    if (state.shown !== id) blank();
    state.shown = id;
    loop(live, livePeriod, state.view);
    loop(slow, slowPeriod, state.view);
  }

  // ---- what the visitor does

  async function statement(event) {
    event.preventDefault();
    const kind = event.submitter ? event.submitter.value : "html";
    byID("statement-error").textContent = "";
    try {
      const url = "/api/v1/advertisers/statement?" + new URLSearchParams({ advertiser_id: byID("advertiser").value.trim(), month: byID("month").value, format: kind });
      const answer = await fetch(url, { headers: { Authorization: "Bearer " + sessionStorage.getItem(tokenKey) } });
      if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = "statement-" + byID("month").value + "." + kind;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (problem) {
      byID("statement-error").textContent = "No statement: " + problem.message + ".";
    }
  }

  function setTheme(name) {
    if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
    byID("theme").value = name;
    if (state.points && state.session) restart();
  }

  byID("sign-in").addEventListener("submit", (event) => { event.preventDefault(); signIn(byID("token").value.trim()); });
  byID("sign-out").addEventListener("click", () => { history.replaceState(null, "", location.pathname); signOut(); });
  // The address keeps the advertiser that an administrator looks at, for a reload and for a link.
  byID("advertiser").addEventListener("change", () => history.replaceState(null, "", "#" + new URLSearchParams({ advertiser: byID("advertiser").value.trim() })));
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byID("main").focus(); });
  byID("controls").addEventListener("submit", (event) => event.preventDefault());
  byID("range").addEventListener("change", () => {
    const isCustom = byID("range").value === "custom";
    for (const e of document.querySelectorAll(".custom")) e.hidden = !isCustom;
    if (isCustom && !byID("from").value) {
      const now = Date.now();
      byID("from").value = new Date(now - 3600e3).toISOString().slice(0, 16);
      byID("to").value = new Date(now).toISOString().slice(0, 16);
    }
  });
  for (const id of ["range", "from", "to", "campaign", "advertiser"]) byID(id).addEventListener("change", restart);
  byID("series-details").addEventListener("toggle", showTable);
  byID("statement").addEventListener("submit", statement);
  byID("theme").addEventListener("change", () => { localStorage.setItem(themeKey, byID("theme").value); setTheme(byID("theme").value); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (state.session) restart(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && state.session) restart(); });

  setTheme(localStorage.getItem(themeKey) || "auto");
  if (sessionStorage.getItem(tokenKey)) signIn(sessionStorage.getItem(tokenKey)); else signOut();
})();
