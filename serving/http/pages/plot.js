/** A forecast as a plot: the mean as a line, and what eight and four of ten days should stay within as bands. */

import {day, number} from "./page.js";

const NS = "http://www.w3.org/2000/svg", HEIGHT = 220, LEFT = 44, BOTTOM = 26, TOP = 10, RIGHT = 8;

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Round up to a number that people like: 7 -> 8, 23 -> 25, 130 -> 150. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((step) => step * unit).find((top) => top >= value * 0.999);
}

/** Draw a forecast's periods, so many pixels wide. */
export function forecastPlot(periods, width) {
  const top = niceTop(Math.max(...periods.map(({mean, quantiles}) => Math.max(mean, quantiles["0.9"]))));
  const x = (place) => LEFT + (width - LEFT - RIGHT) * (periods.length > 1 ? place / (periods.length - 1) : .5);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const line = (of) => periods.map((period, place) => `${x(place).toFixed(1)},${y(of(period)).toFixed(1)}`);
  const band = (low, high, kind) => svg("polygon", {class: kind, points: [
    ...line(({quantiles}) => quantiles[high]), ...line(({quantiles}) => quantiles[low]).reverse()].join(" ")});
  const grid = [0, .5, 1].map((share) => svg("g", {class: "grid"},
    svg("line", {x1: LEFT, x2: width - RIGHT, y1: y(share * top), y2: y(share * top)}),
    svg("text", {x: LEFT - 6, y: y(share * top) + 4, "text-anchor": "end"}, number(share * top))));
  const last = periods.length - 1;
  const shown = periods.length > 1 ? [0, Math.round(last / 2), last] : [0];
  const days = [...new Set(shown)].map((place) => svg("text",
    {x: x(place), y: HEIGHT - 8, "text-anchor": place === 0 && last ? "start" : place === last && last ? "end" : "middle"}, day(periods[place].day)));
  const total = periods.reduce((sum, {mean}) => sum + mean, 0);
  const words = `Forecast from ${day(periods[0].day)} to ${day(periods[last].day)}: ${number(total)} units in all on average, up to ${number(top)} a period on the axis.`;
  return svg("svg", {viewBox: `0 0 ${width} ${HEIGHT}`, class: "plot", role: "img", "aria-label": words},
    ...grid, band("0.1", "0.9", "wide"), band("0.3", "0.7", "narrow"),
    svg("polyline", {class: "mean", points: line(({mean}) => mean).join(" ")}), ...days);
}
