"use strict";
// Turns the still plots into live ones: hovering gives values, bands and limits are drawn, data can be saved.
(() => {
  const source = document.getElementById("plot-data");
  if (!source || typeof uPlot === "undefined") return;
  const plots = JSON.parse(source.textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const THIN = "\u202f", MINUS = "\u2212";

  function number(value, digits = 4) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    let text;
    if (size >= 1e7 || size < 1e-4) {
      const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
      const raised = String(Number(exponent)).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");
      text = Number(mantissa) === 1 ? `10${raised}` : `${Number(mantissa)}×10${raised}`;
    } else if (size >= 10 ** digits) text = Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
    else text = Number(value.toPrecision(digits)).toString();
    return text.replace(/-/g, MINUS);
  }

  const angstrom = (x, power) => (x > 1e-12 ? `${Number((x ** (-1 / power)).toPrecision(3))} Å` : "∞");
  const power = (scale) => ({ inverse: 1, inverse_square: 2 })[scale] || 0;

  function distribution(scale) {
    return scale === "log" ? { distr: 3 } : scale === "symlog" ? { distr: 4, asinh: 1 } : {};
  }

  function fade(colour, share) {
    const hex = colour.replace("#", "");
    const [r, g, b] = [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  }

  function mix(colour, other, share) {
    const part = (c, i) => parseInt(c.replace("#", "").slice(i, i + 2), 16);
    return "#" + [0, 2, 4].map((i) => Math.round(part(colour, i) * (1 - share) + part(other, i) * share).toString(16).padStart(2, "0")).join("");
  }

  // A second curve of one role is lighter, a third darker, as in the still figures.
  function colours(series) {
    const seen = {};
    return series.map((one) => {
      const turn = (seen[one.role] = (seen[one.role] ?? -1) + 1) % 3;
      const base = style("--role-" + one.role);
      return turn === 0 ? base : mix(base, turn === 1 ? "#ffffff" : "#000000", 0.42);
    });
  }

  function columns(plot) {
    const tables = [], specs = [], bands = [];
    const add = (x, y, spec) => { tables.push([x, y]); specs.push(spec); return specs.length; };
    const onLog = plot.y.scale === "log";
    const positive = (values) => (onLog ? values.map((v) => (v > 0 ? v : null)) : values);
    if (plot.kind === "histogram") {
      const colour = style("--role-data");
      const low = 0.5 * Math.min(...plot.counts.filter((c) => c > 0), Infinity);
      const counts = onLog ? plot.counts.map((c) => (c > 0 ? c : low)) : plot.counts;
      add(plot.edges, [...counts, counts[counts.length - 1]], {
        label: "observed", stroke: colour, width: 1.2, fill: fade(colour, 0.25), paths: uPlot.paths.stepped({ align: 1 }),
        points: { show: false }, fillTo: onLog ? () => low : undefined,
        value: (u, v, s, i) => (i === null || i >= plot.counts.length ? "–" : number(plot.counts[i === undefined ? 0 : i])),
        key: "observed",
      });
    }
    colours(plot.series).forEach((colour, k) => {
      const one = plot.series[k];
      if (one.low && one.high) {
        const hidden = (label) => ({ label, stroke: "transparent", width: 0, points: { show: false }, band: true });
        const high = add(one.x, positive(one.high), hidden(one.label + " high"));
        const low = add(one.x, positive(one.low), hidden(one.label + " low"));
        bands.push({ series: [high, low], fill: fade(colour, 0.18) });
      }
      const points = one.style === "points";
      add(one.x, positive(one.y), {
        label: one.label, stroke: colour, width: points ? 0 : 1.8, dash: one.style === "dashed" ? [7, 4] : undefined,
        paths: points ? () => null : one.style === "step" ? uPlot.paths.stepped({ align: 0 }) : undefined,
        points: points ? { show: true, size: 6, fill: colour, width: 0 } : { show: false },
        value: (u, v, s, i) => (i === null || i === undefined ? "–" : between(one, i === null ? null : u.data[0][i])),
      });
    });
    return { data: uPlot.join(tables), specs, bands };
  }

  // Curves of one figure may be sampled at different places: the legend tells the nearest sample of each.
  function between(one, x) {
    if (x === null || x === undefined) return "–";
    let best = 0;
    for (let i = 1; i < one.x.length; i++) if (Math.abs(one.x[i] - x) < Math.abs(one.x[best] - x)) best = i;
    const text = number(one.y[best]);
    return one.low && one.high ? `${text} (${number(one.low[best])} to ${number(one.high[best])})` : text;
  }

  function axisText(scale) {
    const p = power(scale);
    return (u, splits) => splits.map((v) => (v === null ? "" : p ? `${number(v)}\n${angstrom(v, p)}` : number(v)));
  }

  // Ticks of a logarithmic axis: every decade, every second, third ... one where there are many; 1, 2 and 5 where few.
  function logTicks(u, axis, low, high) {
    if (!(low > 0) || !(high > low)) return [];
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
    const ticks = [];
    if (last - first < 2) {
      for (let e = first - 1; e <= last; e++) for (const m of [1, 2, 5]) ticks.push(Number(`${m}e${e}`));
    } else {
      const step = Math.ceil((last - first + 1) / 7);
      for (let e = Math.ceil(first / step) * step; e <= last; e += step) ticks.push(Number(`1e${e}`));
    }
    return ticks.filter((v) => v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9));
  }
  // uPlot's own thinning of such an axis would drop labels again: every tick that is made is shown.
  const logAxis = (scale) => (scale === "log" ? { splits: logTicks, filter: (u, splits) => splits } : {});

  // Names of the vertical lines, above the plot; in a further row where they would overlap.
  function placeLabels(u, context, markers) {
    const ratio = devicePixelRatio, rows = [];
    context.font = `${12 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    return markers.filter((m) => m.axis === "x" && m.label).map((m) => {
      const middle = u.valToPos(m.end === null ? m.value : (m.value + m.end) / 2, "x", true);
      const half = context.measureText(m.label).width / 2;
      const centre = Math.min(Math.max(middle, u.bbox.left + half), u.bbox.left + u.bbox.width - half);
      let row = rows.findIndex((taken) => taken.every(([a, b]) => centre + half + 6 * ratio < a || centre - half - 6 * ratio > b));
      if (row < 0) row = rows.push([]) - 1;
      rows[row].push([centre - half, centre + half]);
      return { m, centre, row };
    });
  }

  function drawMarkers(markers) {
    return (u) => {
      const context = u.ctx, ratio = devicePixelRatio, { left, top, width, height } = u.bbox;
      context.save();
      const labels = placeLabels(u, context, markers);
      for (const m of markers) {
        const colour = style("--role-" + m.role);
        context.strokeStyle = colour;
        context.lineWidth = 1.3 * ratio;
        context.setLineDash(m.role === "limit" ? [6 * ratio, 4 * ratio] : [6 * ratio, 3 * ratio, 1.5 * ratio, 3 * ratio]);
        const from = u.valToPos(m.value, m.axis, true);
        if (m.end !== null) {
          const to = u.valToPos(m.end, m.axis, true);
          context.fillStyle = fade(colour, 0.11);
          if (m.axis === "x") context.fillRect(from, top, to - from, height);
          else context.fillRect(left, to, width, from - to);
        } else {
          context.beginPath();
          if (m.axis === "x") { context.moveTo(from, top); context.lineTo(from, top + height); }
          else { context.moveTo(left, from); context.lineTo(left + width, from); }
          context.stroke();
        }
        if (m.axis === "y" && m.label) {
          context.fillStyle = colour;
          context.textAlign = "right";
          context.textBaseline = "bottom";
          const at = [left + width - 4 * ratio, (m.end === null ? from : u.valToPos(m.end, "y", true)) - 3 * ratio];
          // A rim in the page's colour keeps the name legible over curves and other lines.
          context.setLineDash([]);
          context.strokeStyle = style("--page");
          context.lineWidth = 4 * ratio;
          context.lineJoin = "round";
          context.strokeText(m.label, ...at);
          context.fillText(m.label, ...at);
        }
      }
      context.textAlign = "center";
      context.textBaseline = "bottom";
      for (const { m, centre, row } of labels) {
        context.fillStyle = style("--role-" + m.role);
        context.fillText(m.label, centre, top - (4 + 15 * row) * ratio);
      }
      context.restore();
    };
  }

  function range(values, markers, axis) {
    let low = Infinity, high = -Infinity;
    for (const column of values) for (const v of column) if (v !== null && v !== undefined) { low = Math.min(low, v); high = Math.max(high, v); }
    for (const m of markers) if (m.axis === axis) { low = Math.min(low, m.value); high = Math.max(high, m.end ?? m.value); }
    return [low, high];
  }

  function csv(plot) {
    const rows = [["curve", "x", "y", "low", "high"]];
    if (plot.kind === "histogram") plot.counts.forEach((c, i) => rows.push(["observed", plot.edges[i], c, "", ""]));
    for (const s of plot.series) s.x.forEach((x, i) => rows.push([s.label, x, s.y[i], s.low ? s.low[i] : "", s.high ? s.high[i] : ""]));
    return rows.map((row) => row.map((v) => (typeof v === "string" && /[",\n]/.test(v) ? `"${v.replace(/"/g, '""')}"` : (v ?? ""))).join(",")).join("\n") + "\n";
  }

  function build(holder, plot) {
    const { data, specs, bands } = columns(plot);
    const [xLow, xHigh] = range([data[0]], plot.markers, "x");
    const [yLow, yHigh] = range(data.slice(1), plot.markers, "y");
    const log = plot.y.scale === "log";
    const room = 0.04 * (yHigh - yLow || 1);
    // A model's tail may fall to 1e-40: the axis ends where the data end, or eight decades down.
    const counts = (plot.counts || []).filter((c) => c > 0);
    const floor = counts.length ? 0.5 * Math.min(...counts) : Math.max(yLow, yHigh * 1e-8);
    const yRange = log ? [floor, yHigh * 1.6] : [plot.kind === "histogram" ? Math.min(0, yLow) : yLow - room, yHigh + room];
    const line = style("--line"), quiet = style("--quiet"), ink = style("--ink");
    const font = `13px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: ink, font, labelFont: font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 5 } };
    const rows = Math.max(1, Math.min(4, plot.markers.filter((m) => m.axis === "x" && m.label).length));
    const stacked = power(plot.x.scale) > 0;
    const options = {
      width: holder.clientWidth, height: 330, padding: [8 + 15 * rows, 12, 0, 0],
      scales: {
        x: { time: false, range: plot.x.scale === "log" ? undefined : [xLow, xHigh], ...distribution(plot.x.scale) },
        y: { range: plot.y.scale === "symlog" ? undefined : yRange, ...distribution(plot.y.scale) },
      },
      axes: [
        { ...axis, label: plot.x.label, labelSize: 22, size: stacked ? 46 : 30, space: 70, values: axisText(plot.x.scale), labelGap: 0, ...logAxis(plot.x.scale) },
        { ...axis, label: plot.y.label, labelSize: 22, size: 58, values: axisText("linear"), ...logAxis(plot.y.scale) },
      ],
      series: [
        { label: plot.x.label, value: (u, v) => (v === null || v === undefined ? "–" : number(v) + (power(plot.x.scale) ? ` = ${angstrom(v, power(plot.x.scale))}` : "")) },
        ...specs.map((s) => ({ spanGaps: true, ...s })),
      ],
      bands,
      cursor: { drag: { x: true, y: false, setScale: true }, points: { size: 7 } },
      legend: { live: true },
      hooks: { draw: [drawMarkers(plot.markers)] },
    };
    const u = new uPlot(options, data, holder);
    // Limits of bands are shown with their curve, not as entries of their own.
    u.root.querySelectorAll(".u-legend .u-series").forEach((row, i) => { if (i > 0 && specs[i - 1].band) row.style.display = "none"; });
    u.root.querySelectorAll(".u-legend .u-series").forEach((row, i) => {
      const mark = row.querySelector(".u-marker");
      if (i > 0 && mark) { mark.style.background = typeof specs[i - 1].stroke === "string" ? specs[i - 1].stroke : ""; mark.style.border = "0"; }
    });
    u.over.setAttribute("aria-hidden", "true");
    return u;
  }

  function tools(holder, plot, name, reset) {
    const bar = document.createElement("p");
    bar.className = "tools";
    const save = document.createElement("button");
    save.type = "button";
    save.textContent = "Save the numbers (CSV)";
    save.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(plot)], { type: "text/csv" }));
      link.download = name + ".csv";
      link.click();
      URL.revokeObjectURL(link.href);
    });
    const whole = document.createElement("button");
    whole.type = "button";
    whole.textContent = "Whole range";
    whole.title = "Drag over the plot to look closer";
    whole.addEventListener("click", reset);
    bar.append(save, " ", whole);
    holder.after(bar);
  }

  function activate(holder) {
    const name = holder.dataset.plot, plot = plots[name];
    if (!plot) return;
    holder.classList.add("live");
    let live = build(holder, plot);
    const again = () => { live.destroy(); live = build(holder, plot); };
    tools(holder, plot, name, again);
    let width = holder.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(holder.clientWidth - width) < 2) return;
      width = holder.clientWidth;
      if (width > 0) live.setSize({ width, height: 330 });
    }).observe(holder);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  }

  // What comes near the screen is drawn first, the rest one by one when the browser has nothing else to do.
  const waiting = new Set(document.querySelectorAll("[data-plot]"));
  const take = (holder) => { if (waiting.delete(holder)) { watcher.unobserve(holder); activate(holder); } };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) take(entry.target);
  }, { rootMargin: "600px" });
  waiting.forEach((holder) => watcher.observe(holder));
  const idle = window.requestIdleCallback ? (f) => requestIdleCallback(f, { timeout: 2000 }) : (f) => setTimeout(f, 200);
  const next = () => { for (const holder of waiting) { take(holder); idle(next); return; } };
  idle(next);

  // On a narrow page the contents fold away.
  const menu = document.querySelector("nav details");
  const wide = matchMedia("(min-width: 62rem)");
  const fold = () => { if (menu) menu.open = wide.matches; };
  fold();
  wide.addEventListener("change", fold);
})();
