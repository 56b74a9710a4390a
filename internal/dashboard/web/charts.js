"use strict";
// Bars over time: final buckets filled, provisional ones hatched.
const charts = (() => {
  const drawn = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function hatch(u) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const c = tile.getContext("2d");
    c.strokeStyle = colour("--accent");
    c.lineWidth = 2;
    for (const at of [-8, 0, 8]) { c.beginPath(); c.moveTo(at, 8); c.lineTo(at + 8, 0); c.stroke(); }
    return u.ctx.createPattern(tile, "repeat");
  }

  function options(element, value, step) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const bars = uPlot.paths.bars({ size: [0.8, 40] });
    const series = (fill) => ({ paths: bars, points: { show: false }, stroke: colour("--accent"), width: 1, fill });
    return {
      width: Math.max(200, element.clientWidth), height: 200,
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      cursor: { y: false, points: { show: false } },
      legend: { show: false },
      padding: [10, 20, 0, 0],
      scales: { x: { range: (_, low, high) => [low - step() / 2, high + step() / 2] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, size: 28, space: 60, values: (_, ticks, __, ___, every) => ticks.map((t) => every >= 86400 ? format.time(t).slice(5, 10) : format.time(t).slice(t % 86400 ? 11 : 5, t % 86400 ? 16 : 10)) }, { ...axis, size: 52, values: (_, ticks) => ticks.map(value) }],
      series: [{}, series(() => colour("--accent")), series((u) => hatch(u))],
    };
  }

  // draw shows points of {at, value, isFinal}; a value may be null.
  function draw(id, points, value, none) {
    const element = document.getElementById(id);
    const isEmpty = !points.some((p) => p.value !== null && p.value !== 0);
    element.classList.toggle("none", isEmpty);
    element.dataset.none = none;
    const data = [points.map((p) => p.at), points.map((p) => p.isFinal ? p.value : null), points.map((p) => p.isFinal ? null : p.value)];
    const old = drawn.get(id);
    const step = points.length > 1 ? points[1].at - points[0].at : 60;
    if (old && old.theme === theme()) {
      old.step = step;
      old.plot.setData(data);
      return;
    }
    if (old) old.plot.destroy();
    const chart = { step, theme: theme() };
    chart.plot = new uPlot(options(element, value, () => chart.step), data, element);
    drawn.set(id, chart);
  }

  const theme = () => colour("--accent") + colour("--card");

  function resize() {
    for (const [id, { plot }] of drawn) {
      const width = document.getElementById(id).clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: 200 });
    }
  }
  addEventListener("resize", resize);

  function clear() {
    for (const [id, { plot }] of drawn) {
      plot.destroy();
      document.getElementById(id).classList.remove("none");
    }
    drawn.clear();
  }
  return { draw, clear };
})();
