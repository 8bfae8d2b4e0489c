"use strict";
// The interactive view: a surface made here from the packed volume, handed to 3Dmol to show.
(() => {
  const source = document.getElementById("scene-data");
  const box = document.getElementById("viewer");
  if (!source || !box) return;
  const message = document.getElementById("view-message");
  const say = (text) => { message.textContent = text; message.hidden = !text; };

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // One empty layer all around, so that the surface closes where the volume ends.
  function padded(bytes, [nz, ny, nx]) {
    const shape = [nz + 2, ny + 2, nx + 2];
    const out = new Float32Array(shape[0] * shape[1] * shape[2]);
    for (let z = 0; z < nz; z++) for (let y = 0; y < ny; y++) {
      const to = ((z + 1) * shape[1] + y + 1) * shape[2] + 1, from = (z * ny + y) * nx;
      for (let x = 0; x < nx; x++) out[to + x] = bytes[from + x];
    }
    return { data: out, shape };
  }

  function sampler({ data, shape: [nz, ny, nx] }) {
    return (z, y, x) => {
      z = Math.min(Math.max(z, 0), nz - 1.001); y = Math.min(Math.max(y, 0), ny - 1.001); x = Math.min(Math.max(x, 0), nx - 1.001);
      const k = z | 0, j = y | 0, i = x | 0, fz = z - k, fy = y - j, fx = x - i, o = (k * ny + j) * nx + i, p = o + ny * nx;
      const a = (data[o] * (1 - fx) + data[o + 1] * fx) * (1 - fy) + (data[o + nx] * (1 - fx) + data[o + nx + 1] * fx) * fy;
      const b = (data[p] * (1 - fx) + data[p + 1] * fx) * (1 - fy) + (data[p + nx] * (1 - fx) + data[p + nx + 1] * fx) * fy;
      return a * (1 - fz) + b * fz;
    };
  }

  // Surface nets (Gibson 1998): one vertex in each cell that the surface crosses, at the mean of its edge crossings.
  // Cut in slabs along z, because 3Dmol's index is 16 bits wide.
  function surface(volume, level) {
    const { data, shape: [nz, ny, nx] } = volume;
    const at = sampler(volume);
    const sz = ny * nx;
    const index = new Int32Array(nz * sz).fill(-1);
    const positions = [], normals = [];
    const corner = [0, 1, nx, nx + 1, sz, sz + 1, sz + nx, sz + nx + 1];
    const edges = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];
    for (let z = 0; z < nz - 1; z++) for (let y = 0; y < ny - 1; y++) for (let x = 0; x < nx - 1; x++) {
      const o = z * sz + y * nx + x;
      let inside = 0;
      for (let c = 0; c < 8; c++) if (data[o + corner[c]] >= level) inside |= 1 << c;
      if (inside === 0 || inside === 255) continue;
      let px = 0, py = 0, pz = 0, n = 0;
      for (const [a, b] of edges) {
        if (((inside >> a) & 1) === ((inside >> b) & 1)) continue;
        const va = data[o + corner[a]], t = (level - va) / (data[o + corner[b]] - va);
        px += (a & 1) + t * ((b & 1) - (a & 1));
        py += ((a >> 1) & 1) + t * (((b >> 1) & 1) - ((a >> 1) & 1));
        pz += (a >> 2) + t * ((b >> 2) - (a >> 2));
        n++;
      }
      px = x + px / n; py = y + py / n; pz = z + pz / n;
      index[o] = positions.length / 3;
      positions.push(pz, py, px);
      const gz = at(pz + 1, py, px) - at(pz - 1, py, px), gy = at(pz, py + 1, px) - at(pz, py - 1, px), gx = at(pz, py, px + 1) - at(pz, py, px - 1);
      const length = Math.hypot(gx, gy, gz) || 1;
      normals.push(-gz / length, -gy / length, -gx / length);
    }
    const faces = [];
    const quad = (a, b, c, d, flip) => { if (flip) faces.push(a, c, b, a, d, c); else faces.push(a, b, c, a, c, d); };
    for (let z = 1; z < nz - 1; z++) for (let y = 1; y < ny - 1; y++) for (let x = 1; x < nx - 1; x++) {
      const o = z * sz + y * nx + x, here = data[o] >= level;
      if (here !== data[o + 1] >= level) quad(index[o - sz - nx], index[o - sz], index[o], index[o - nx], !here);
      if (here !== data[o + nx] >= level) quad(index[o - sz - 1], index[o - 1], index[o], index[o - sz], !here);
      if (here !== data[o + sz] >= level) quad(index[o - nx - 1], index[o - nx], index[o], index[o - 1], !here);
    }
    return { positions, normals, faces };
  }

  function painter(colouring, shape) {
    const rgb = colouring.colours.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16) / 255));
    const [nz, ny, nx] = shape, data = colouring.bytes;
    const grey = { r: 0.62, g: 0.64, b: 0.67 };
    return (z, y, x) => {
      // Positions count from the empty layer around the volume.
      z = Math.min(Math.max(z - 1, 0), nz - 1); y = Math.min(Math.max(y - 1, 0), ny - 1); x = Math.min(Math.max(x - 1, 0), nx - 1);
      const k = Math.min(z | 0, nz - 2), j = Math.min(y | 0, ny - 2), i = Math.min(x | 0, nx - 2);
      let total = 0, weight = 0;
      for (let c = 0; c < 8; c++) {
        const dz = c >> 2, dy = (c >> 1) & 1, dx = c & 1, value = data[((k + dz) * ny + j + dy) * nx + i + dx];
        if (value === 0) continue;
        const w = Math.abs(1 - dz - (z - k)) * Math.abs(1 - dy - (y - j)) * Math.abs(1 - dx - (x - i));
        total += w * value; weight += w;
      }
      if (weight < 0.25) return grey;
      const place = ((total / weight - 1) / 254) * (rgb.length - 1), low = Math.min(place | 0, rgb.length - 2), f = place - low;
      return { r: rgb[low][0] * (1 - f) + rgb[low + 1][0] * f, g: rgb[low][1] * (1 - f) + rgb[low + 1][1] * f, b: rgb[low][2] * (1 - f) + rgb[low + 1][2] * f };
    };
  }

  const MOST = 60000;
  function show(viewer, mesh, paint, scene) {
    viewer.removeAllShapes();
    const middle = scene.shape.map((n) => n / 2 + 0.5), size = scene.pixel_size;
    const plain = { r: 0.73, g: 0.78, b: 0.84 };
    let part;
    const start = () => { part = { vertexArr: [], normalArr: [], faceArr: [], colorArr: [], seen: new Map() }; };
    const finish = () => {
      if (!part.faceArr.length) return;
      const { vertexArr, normalArr, faceArr, colorArr } = part;
      // A shape's own colour would be drawn over those of its vertices.
      delete viewer.addCustom({ vertexArr, normalArr, faceArr, colorArr }).color;
    };
    const vertex = (v) => {
      let found = part.seen.get(v);
      if (found === undefined) {
        const [z, y, x] = [mesh.positions[3 * v], mesh.positions[3 * v + 1], mesh.positions[3 * v + 2]];
        found = part.vertexArr.length;
        part.seen.set(v, found);
        part.vertexArr.push({ x: (x - middle[2]) * size, y: (y - middle[1]) * size, z: (z - middle[0]) * size });
        part.normalArr.push({ x: mesh.normals[3 * v + 2], y: mesh.normals[3 * v + 1], z: mesh.normals[3 * v] });
        part.colorArr.push(paint ? paint(z, y, x) : plain);
      }
      return found;
    };
    start();
    for (let f = 0; f < mesh.faces.length; f += 3) {
      if (part.vertexArr.length > MOST) { finish(); start(); }
      part.faceArr.push(vertex(mesh.faces[f]), vertex(mesh.faces[f + 1]), vertex(mesh.faces[f + 2]));
    }
    finish();
    viewer.render();
  }

  // How far the surface reaches from the middle of the box, in Å: 99 % of it, so that dust does not make it small.
  function reach(mesh, scene) {
    const middle = scene.shape.map((n) => n / 2 + 0.5), far = [];
    for (let v = 0; v < mesh.positions.length; v += 3)
      far.push(Math.hypot(mesh.positions[v] - middle[0], mesh.positions[v + 1] - middle[1], mesh.positions[v + 2] - middle[2]));
    far.sort((a, b) => a - b);
    return Math.max(far[Math.floor(0.99 * (far.length - 1))] || 1, 1) * scene.pixel_size;
  }

  function number(value) {
    return Number(value.toPrecision(3)).toString().replace("-", "\u2212");
  }

  async function start() {
    if (typeof $3Dmol === "undefined") return say("The interactive view could not be loaded; the still pictures above show the same surface.");
    if (typeof DecompressionStream === "undefined") return say("This browser is too old for the interactive view; the still pictures above show the same surface.");
    const scene = JSON.parse(source.textContent);
    const volume = padded(await unpack(scene.map), scene.shape);
    box.classList.add("live");
    const canvas = document.getElementById("canvas");
    const background = () => getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
    let viewer;
    try {
      viewer = $3Dmol.createViewer(canvas, { backgroundColor: background(), antialias: true, disableFog: false });
    } catch (error) { viewer = null; }
    if (!viewer) { box.classList.remove("live"); return say("This browser offers no WebGL; the still pictures above show the same surface."); }
    say("");
    let radius = 0.5 * scene.pixel_size * Math.hypot(...scene.shape);
    // 3Dmol's camera stands 150 Å off and sees 20 degrees; 6.4 radii away the whole surface is in view.
    const zoom = () => 150 - 6.4 * radius;
    const h = Math.SQRT1_2;
    // Right-handed views, as in the still pictures.
    const turns = { z: [0, 0, 0, 1], y: [-h, 0, 0, h], x: [-0.5, -0.5, -0.5, 0.5] };
    const look = (axis) => { viewer.setView([0, 0, 0, zoom(), ...turns[axis]]); slab(); };
    const slider = document.getElementById("view-level"), output = document.getElementById("view-level-value");
    const choice = document.getElementById("view-colour"), cut = document.getElementById("view-slab");
    const [low, high] = scene.range;
    slider.value = Math.round((1000 * (scene.level - low)) / (high - low));
    let level = scene.level, mesh = null, timer = 0;
    const coded = (v) => ((v - scene.bottom) / (scene.top - scene.bottom)) * 255;
    const colouring = () => scene.colourings.find((c) => choice && c.key === choice.value);
    async function paintKey(one) {
      const key = document.getElementById("colour-key");
      key.hidden = !one;
      if (!one) return;
      document.getElementById("key-low").textContent = number(one.limits[0]);
      document.getElementById("key-high").textContent = number(one.limits[1]);
      document.getElementById("key-label").textContent = one.label + (one.unit ? ` (${one.unit})` : "");
      const context = key.querySelector("canvas").getContext("2d");
      const gradient = context.createLinearGradient(0, 0, 256, 0);
      one.colours.forEach((c, i) => gradient.addColorStop(i / (one.colours.length - 1), c));
      context.fillStyle = gradient;
      context.fillRect(0, 0, 256, 12);
    }
    async function draw(anew) {
      output.textContent = number(level);
      if (anew || !mesh) mesh = surface(volume, coded(level));
      const one = colouring();
      if (one && !one.bytes) one.bytes = await unpack(one.data);
      paintKey(one);
      show(viewer, mesh, one ? painter(one, scene.shape) : null, scene);
    }
    function slab() {
      const share = Number(cut.value) / 100;
      // Everything is in front of the far plane and, uncut, behind the near one, dust included.
      viewer.setSlab(share > 0 ? -radius + 2 * radius * 0.98 * share : -3 * radius, 3 * radius);
      viewer.render();
    }
    if (choice && scene.colourings.length) choice.value = scene.colourings[0].key;
    await draw(true);
    radius = reach(mesh, scene);
    look("z");
    slider.addEventListener("input", () => {
      level = low + ((high - low) * Number(slider.value)) / 1000;
      output.textContent = number(level);
      clearTimeout(timer);
      timer = setTimeout(() => draw(true), 120);
    });
    if (choice) choice.addEventListener("change", () => draw(false));
    cut.addEventListener("input", slab);
    document.querySelectorAll("[data-view]").forEach((b) => b.addEventListener("click", () => look(b.dataset.view)));
    canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: ["y", -10], ArrowRight: ["y", 10], ArrowUp: ["x", -10], ArrowDown: ["x", 10] }[event.key];
      if (turn) { viewer.rotate(turn[1], turn[0]); viewer.render(); event.preventDefault(); }
      if (event.key === "+" || event.key === "-") { viewer.zoom(event.key === "+" ? 1.15 : 1 / 1.15); viewer.render(); event.preventDefault(); }
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { viewer.setBackgroundColor(background()); viewer.render(); });
    new ResizeObserver(() => viewer.resize()).observe(canvas);
  }

  let begun = false;
  function begin() {
    if (begun) return;
    begun = true;
    start().catch((error) => {
      box.classList.remove("live");
      say("The interactive view failed (" + error.message + "); the still pictures above show the same surface.");
    });
  }
  // It takes a second and some memory: only when it comes into view, or when it was the address.
  new IntersectionObserver((entries) => { if (entries.some((e) => e.isIntersecting)) begin(); }, { rootMargin: "400px" }).observe(box);
  if (["#view", "#viewer"].includes(location.hash)) begin();
})();
