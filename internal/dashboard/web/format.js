"use strict";
// Browsers of a system without a language may name one that Intl refuses, such as en-US@posix, and uPlot asks Intl for it.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en" });
}

// How numbers and times are written.
const format = (() => {
  const whole = new Intl.NumberFormat("en");
  const pad = (n) => String(n).padStart(2, "0");
  return {
    whole: (n) => whole.format(n),
    clicks: (n) => whole.format(n) + (Math.abs(n) === 1 ? " click" : " clicks"),
    // Micros are whole numbers below 2^53 here. What is less than a cent is shown with all its places.
    money: (micros, currency) => {
      const places = micros !== 0 && Math.abs(micros) < 1e4 ? 6 : 2;
      const text = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: places }).format(micros / 1e6);
      return currency ? text + " " + currency : text;
    },
    // decimal is an amount that is decimal text, with all its places.
    decimal: (text) => { const [units, places] = text.split("."); return units.replace(/\B(?=(\d{3})+$)/g, ",") + "." + places; },
    rate: (clicks, impressions) => impressions > 0 ? (100 * clicks / impressions).toFixed(2) + " %" : "–",
    time: (seconds) => {
      const t = new Date(seconds * 1000);
      return t.getUTCFullYear() + "-" + pad(t.getUTCMonth() + 1) + "-" + pad(t.getUTCDate()) + " " + pad(t.getUTCHours()) + ":" + pad(t.getUTCMinutes());
    },
    clock: (date) => pad(date.getUTCHours()) + ":" + pad(date.getUTCMinutes()) + ":" + pad(date.getUTCSeconds()),
    short: (n) => Math.abs(n) >= 1e6 ? +(n / 1e6).toFixed(1) + "M" : Math.abs(n) >= 1e4 ? +(n / 1e3).toFixed(1) + "k" : String(+n.toFixed(2)),
  };
})();
