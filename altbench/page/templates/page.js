"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...inside.filter((one) => one !== null && one !== undefined));
    return element;
  };
  const [R_TITLE, R_TASK, , , R_STYLE] = [0, 1, 2, 3, 4];
  const [C_ROW, C_TITLE, C_WON, C_ALL, C_RATE, C_LOW, C_HIGH, C_MISSING, C_CELLS, C_SPLIT, C_NAME, C_SEVERITY] = [...Array(12).keys()];
  const episodes = data.episodes;
  const words = (text) => text.replace(/_/g, " ");
  const percent = (share) => {
    const rounded = (100 * share).toFixed(0);
    return `${rounded === "100" && share < 1 ? (100 * share).toFixed(1) : rounded} %`;
  };
  const points = (share) => `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(100 * share).toFixed(0)}`;
  const quoted = (word) => (/^[\w@%+=:,.\/-]+$/.test(word) ? word : `'${word.replace(/'/g, `'"'"'`)}'`);
  const filming = (cell, episode) =>
    `altbench video ${quoted(cell)} --run ${quoted(data.root)} --episodes ${episode + 1}`;
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const mark = (style) => {
    const image = svg("svg", { class: `mk p${style}`, viewBox: "-8 -8 16 16", width: 14, height: 14, "aria-hidden": "true" });
    image.append(svg("use", { href: `#m${style}` }));
    return image;
  };

  // ---------------------------------------------------------------------------------------------- theme and commands
  const root = document.documentElement;
  const remembered = (() => { try { return localStorage.getItem("altbench-theme"); } catch { return null; } })();
  if (remembered === "dark" || remembered === "light") root.dataset.theme = remembered;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("altbench-theme", root.dataset.theme); } catch { /* a page without storage forgets it */ }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const code = button.previousElementSibling;
    const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    const select = () => { getSelection().selectAllChildren(code); };
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select);
    else select();
  });
  const command = (text) => make("span", { class: "cmd" }, make("code", {}, text),
    make("button", { type: "button", class: "copy", "aria-label": `copy the command ${text}` }, "copy"));

  // ------------------------------------------------------------------------------------------------------ main table
  const main = byId("main");
  const heads = [...main.tHead.rows[0].cells];
  const lines = [...main.tBodies[0].rows];
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === null || a === undefined || a === "") return 1;
    if (b === null || b === undefined || b === "") return -1;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
  };
  const turned = (head, others) => {
    const next = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    for (const other of others) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", next);
    return next === "ascending" ? 1 : -1;
  };
  const valueOf = (cell) => {
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text === "–" ? "" : text;
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const sign = turned(head, heads);
    const empty = (value) => value === "" || value === undefined;
    const sorted = lines.map((line) => [valueOf(line.cells[column]), line]);
    sorted.sort(([a], [b]) => (empty(a) || empty(b) ? compare(a, b) : sign * compare(a, b)));
    main.tBodies[0].append(...sorted.map(([, line]) => line));
  }));
  const filterMain = () => {
    const wanted = byId("main-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const line of lines) {
      const text = [...line.cells].slice(0, heads.length > 3 ? 3 : 2).map((cell) => cell.textContent).join(" ").toLowerCase();
      line.hidden = !wanted.every((word) => text.includes(word));
      shown += line.hidden ? 0 : 1;
    }
    byId("main-count").textContent = wanted.length ? `${shown} of ${lines.length} rows` : "";
  };
  byId("main-filter").addEventListener("input", filterMain);

  // ---------------------------------------------------------------------------------------------------------- a cell
  const dialog = byId("cell");
  const body = byId("cell-body");
  const rowsOf = (number) => {
    const found = [];
    for (let i = 0; i < episodes.condition.length; i++) if (episodes.condition[i] === number) found.push(i);
    return found;
  };
  const describe = (i) => {
    const cell = data.cells[episodes.cell[i]];
    const episode = episodes.episode[i];
    const parts = [make("p", {}, make("b", {}, `Episode ${episode}`), ` of `, make("code", {}, cell[0]), `: ${words(episodes.texts[episodes.ending[i]])}, ${episodes.steps[i]} steps`,
      episodes.score[i] === null ? "" : `, highest score ${episodes.score[i]}`, episodes.flag[i] === null ? "" : `, flagged at step ${episodes.flag[i]}`)];
    const message = episodes.texts[episodes.message[i]];
    if (message) parts.push(make("p", {}, message));
    if (cell[1]) parts.push(make("video", { controls: true, preload: "none", src: cell[1], "aria-label": `Film of ${cell[0]}` }));
    else parts.push(data.film ? command(filming(cell[0], episode))
      : make("p", { class: "hint" }, data.unfilmed));
    return parts;
  };
  const showCondition = (number, episode) => {
    const one = data.conditions[number];
    const row = data.rows[one[C_ROW]];
    byId("cell-title").replaceChildren(mark(row[R_STYLE]), ` ${row[R_TITLE]}, ${row[R_TASK]}, ${words(one[C_TITLE])}`);
    const detail = make("div", { "aria-live": "polite" });
    const found = rowsOf(number);
    const dots = make("div", { class: "dots" });
    const choose = (i, button) => {
      for (const other of dots.children) other.setAttribute("aria-pressed", String(other === button));
      detail.replaceChildren(...describe(i));
    };
    for (const i of found.slice(0, 400)) {
      const won = episodes.won[i];
      const button = make("button", { type: "button", class: won ? "w" : "f", "aria-pressed": "false",
        title: words(episodes.texts[episodes.ending[i]]),
        "aria-label": `episode ${episodes.episode[i]}, ${won ? "success" : "failure"}` }, `${won ? "" : "×"}${episodes.episode[i]}`);
      button.addEventListener("click", () => choose(i, button));
      dots.append(button);
      if (episode !== undefined && episodes.episode[i] === episode && !detail.hasChildNodes()) choose(i, button);
    }
    const curve = document.querySelector(`[data-curve="${CSS.escape(`s-${row[R_TASK]}-${one[C_SPLIT]}-${one[C_NAME]}`)}"]`);
    body.replaceChildren(
      make("p", {}, one[C_RATE] === null ? "No episode counts." : make("b", {}, percent(one[C_RATE])),
        one[C_RATE] === null ? "" : ` of episodes succeed: ${one[C_WON]} of ${one[C_ALL]}, 95 % interval ${(100 * one[C_LOW]).toFixed(0)} to ${(100 * one[C_HIGH]).toFixed(0)} %`,
        one[C_MISSING] ? `; ${one[C_MISSING]} missing` : ""),
      make("p", { class: "hint" }, !one[C_CELLS].length ? "No cell of it is in the page's sample." : one[C_CELLS].length > 1 ? "Cells: " : "Cell: ", ...one[C_CELLS].flatMap((c, i) => [i ? ", " : "", make("code", {}, data.cells[c][0])])),
      curve ? make("div", { class: "charts" }, curve.cloneNode(true)) : null,
      make("h3", {}, found.length < one[C_ALL] + one[C_MISSING] ? `Episodes (${found.length} of ${one[C_ALL]} are in this page)` : "Episodes"),
      dots, detail,
      make("p", {}, make("button", { type: "button", onclick: () => explore({ condition: number }) }, "Show them in the explorer")));
  };
  const showCost = (number) => {
    const list = byId(`cost-${number}`);
    if (!list) return false;
    byId("cell-title").textContent = `Time and memory: ${list.dataset.title}`;
    const copy = list.cloneNode(true);
    copy.removeAttribute("id");
    body.replaceChildren(copy);
    return true;
  };
  const opened = () => {
    const found = /^#(c|m)(\d+)(?:e(\d+))?$/.exec(location.hash);
    const known = found && (found[1] === "m" ? showCost(found[2])
      : data.conditions[found[2]] && (showCondition(Number(found[2]), found[3] === undefined ? undefined : Number(found[3])), true));
    if (known && !dialog.open) dialog.showModal();
    else if (!known && dialog.open) dialog.close();
    if (known) dialog.scrollTop = 0;
  };
  dialog.addEventListener("close", () => {
    if (/^#[cm]\d/.test(location.hash)) history.replaceState(null, "", location.pathname + location.search);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  window.addEventListener("hashchange", opened);

  // ----------------------------------------------------------------------------------------------------------- pairs
  const pairA = byId("pair-a");
  if (pairA) {
    const pairB = byId("pair-b");
    const several = new Set(data.rows.map((row) => row[R_TASK])).size > 1;
    data.rows.forEach((row, i) => {
      const name = several ? `${row[R_TASK]}: ${row[R_TITLE]}` : row[R_TITLE];
      pairA.append(make("option", { value: i }, name));
      pairB.append(make("option", { value: i }, name));
    });
    const of = (a, b) => {
      const found = data.pairs.find((pair) => (pair[0] === a && pair[1] === b) || (pair[0] === b && pair[1] === a));
      return found && [found, found[0] !== a];
    };
    const bar = (low, high, middle) => {
      const image = svg("svg", { viewBox: "0 0 120 12", width: 120, height: 12, "aria-hidden": "true" });
      const x = (value) => (60 + 58 * value).toFixed(1);
      image.append(svg("path", { class: "grid", d: "M60 0V12" }), svg("path", { class: "ln", d: `M${x(low)} 6H${x(high)}` }),
        svg("circle", { cx: x(middle), cy: 6, r: 3.2, fill: "currentColor" }));
      return image;
    };
    const drawPair = () => {
      const [a, b] = [Number(pairA.value), Number(pairB.value)];
      for (const option of pairB.options) option.disabled = !of(a, Number(option.value));
      const found = of(a, b);
      byId("pair-note").textContent = found ? "" : "These two rows were not compared: choose rows of one task.";
      if (!found) { byId("pair-table").tBodies[0].replaceChildren(); byId("pair-title").textContent = ""; return; }
      const [pair, swapped] = found;
      byId("pair-title").replaceChildren(make("b", {}, data.rows[b][R_TITLE]), " minus ", make("b", {}, data.rows[a][R_TITLE]),
        several ? `, ${data.rows[a][R_TASK]}` : "", ", on the same episodes");
      const flips = pair[3];
      byId("pair-table").tBodies[0].replaceChildren(...pair[2].map((line) => {
        const [c1, c2, total, first, second, difference, low, high, p] = line;
        const [d, l, h] = swapped ? [-difference, -high, -low] : [difference, low, high];
        const own = new Set(data.conditions[c1][C_CELLS]);
        const changed = flips.filter((flip) => own.has(flip[0]));
        const list = make("td", { class: "flips" });
        for (const [, , episode, won] of changed.slice(0, 12)) {
          const winner = (won === 1) !== swapped ? data.rows[b] : data.rows[a];
          list.append(make("button", { type: "button", title: `only ${winner[R_TITLE]} succeeds`,
            "aria-label": `episode ${episode}: only ${winner[R_TITLE]} succeeds`,
            onclick: () => { location.hash = `c${won === 1 ? c1 : c2}e${episode}`; } }, mark(winner[R_STYLE]), ` ${episode}`));
        }
        if (changed.length > 12) list.append(make("small", { class: "muted" }, ` and ${changed.length - 12} more`));
        return make("tr", {}, make("th", { scope: "row" }, words(data.conditions[c1][C_TITLE])), make("td", { class: "r" }, String(total)),
          make("td", { class: "r" }, String(swapped ? second : first)), make("td", { class: "r" }, String(swapped ? first : second)),
          make("td", { class: "r" }, `${points(d)} [${points(l)}, ${points(h)}]`), make("td", {}, bar(l, h, d)),
          make("td", { class: "r" }, p >= 1e-4 ? String(p) : "< 0.0001"), list);
      }));
    };
    pairA.addEventListener("change", () => {
      if (!of(Number(pairA.value), Number(pairB.value))) {
        const other = [...pairB.options].find((option) => of(Number(pairA.value), Number(option.value)));
        if (other) pairB.value = other.value;
      }
      drawPair();
    });
    pairB.addEventListener("change", drawPair);
    if (data.pairs.length) { pairA.value = data.pairs[0][0]; pairB.value = data.pairs[0][1]; drawPair(); }
  }

  // -------------------------------------------------------------------------------------------------------- explorer
  const HEIGHT = 34;
  const box = byId("explorer");
  const table = byId("ex-table");
  const rowTitle = (i) => data.rows[data.conditions[episodes.condition[i]][C_ROW]];
  const several = new Set(data.rows.map((row) => row[R_TASK])).size > 1;
  const columns = {
    row: (i) => `${several ? `${rowTitle(i)[R_TASK]}: ` : ""}${rowTitle(i)[R_TITLE]}`,
    where: (i) => words(data.conditions[episodes.condition[i]][C_TITLE]),
    episode: (i) => episodes.episode[i],
    ending: (i) => words(episodes.texts[episodes.ending[i]]),
    steps: (i) => episodes.steps[i],
    score: (i) => episodes.score[i],
    flag: (i) => episodes.flag[i],
    message: (i) => episodes.texts[episodes.message[i]],
  };
  const everything = episodes.condition.map((_, i) => i).filter((i) => episodes.condition[i] >= 0);
  // What a search looks through does not depend on the episode: one text for each condition, ending and message.
  const texts = everything.length ? (() => {
    const known = new Map();
    return (i) => {
      const key = `${episodes.condition[i]}|${episodes.ending[i]}|${episodes.message[i]}`;
      if (!known.has(key)) known.set(key, ["row", "where", "ending", "message"].map((name) => columns[name](i)).join(" ").toLowerCase());
      return known.get(key);
    };
  })() : () => "";
  let shown = everything;
  let order = null;
  let narrowed = {};
  const draw = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 8);
    const last = Math.min(shown.length, first + Math.ceil(box.clientHeight / HEIGHT) + 18);
    const pad = (height) => {
      const cell = make("td", { colspan: 8 });
      cell.style.height = `${height}px`;
      return make("tr", { class: "pad", "aria-hidden": "true" }, cell);
    };
    const rows = shown.slice(first, last).map((i, k) => make("tr", { "aria-rowindex": first + k + 2 },
      make("td", {}, mark(rowTitle(i)[R_STYLE]), ` ${columns.row(i)}`), make("td", {}, columns.where(i)),
      make("td", { class: "r" }, make("a", { href: `#c${episodes.condition[i]}e${episodes.episode[i]}` }, String(episodes.episode[i]))),
      make("td", { class: episodes.won[i] ? "ok" : "no-ok" }, `${episodes.won[i] ? "✓" : "×"} ${columns.ending(i)}`),
      make("td", { class: "r opt2" }, String(episodes.steps[i])), make("td", { class: "r opt2" }, episodes.score[i] === null ? "" : episodes.score[i].toFixed(3)),
      make("td", { class: "r opt1" }, episodes.flag[i] === null ? "" : String(episodes.flag[i])),
      make("td", { class: "opt1", title: columns.message(i) || undefined }, columns.message(i))));
    table.setAttribute("aria-rowcount", shown.length + 1);
    table.tBodies[0].replaceChildren(pad(first * HEIGHT), ...rows, pad((shown.length - last) * HEIGHT));
  };
  const refresh = () => {
    const wanted = byId("ex-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const outcome = byId("ex-outcome").value;
    shown = everything.filter((i) => (outcome === "" || String(episodes.won[i]) === outcome)
      && (narrowed.condition === undefined || episodes.condition[i] === narrowed.condition)
      && (narrowed.kind === undefined || (episodes.texts[episodes.ending[i]] === narrowed.kind && rowTitle(i)[R_TASK] === narrowed.task))
      && wanted.every((word) => texts(i).includes(word)));
    if (order) {
      const [name, sign] = order;
      const value = columns[name];
      const empty = (v) => v === null || v === undefined;
      shown.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        return (empty(x) || empty(y) ? compare(x, y) : sign * compare(x, y)) || a - b;
      });
    }
    byId("ex-count").textContent = `${shown.length.toLocaleString("en")} of ${everything.length.toLocaleString("en")} episodes${
      narrowed.condition !== undefined ? " (one cell)" : narrowed.kind !== undefined ? ` (${words(narrowed.kind)})` : ""}`;
    box.scrollTop = 0;
    draw();
  };
  const explore = (only) => {
    narrowed = only;
    byId("ex-filter").value = "";
    byId("ex-outcome").value = "";
    if (dialog.open) dialog.close();
    refresh();
    box.scrollIntoView({ block: "center" });
    box.focus();
  };
  let waiting = false;
  box.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  });
  window.addEventListener("resize", draw);
  byId("ex-filter").addEventListener("input", refresh);
  byId("ex-outcome").addEventListener("change", refresh);
  byId("ex-clear").addEventListener("click", () => explore({}));
  for (const button of document.querySelectorAll(".show-kind")) {
    button.addEventListener("click", () => explore({ kind: button.dataset.kind, task: button.dataset.task }));
  }
  const exHeads = [...table.tHead.rows[0].cells];
  for (const head of exHeads) {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => { order = [button.dataset.col, turned(head, exHeads)]; refresh(); });
  }
  refresh();
  window.addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details.fold")) one.dataset.was = one.open; });
  opened();
  root.dataset.ready = "true";
})();
