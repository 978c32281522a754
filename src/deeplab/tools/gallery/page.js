"use strict";
// Moving between images and looking at them large. Without this the pictures are plain links.

const viewer = document.getElementById("viewer");
const large = viewer.querySelector(".stage img");
const buttons = [...viewer.querySelectorAll(".kinds button")];
const STEPS = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 };

let card = null; // the one that is open, or was last
let kind = 0; // which of its pictures

const shots = (of) => [...of.querySelectorAll(".shot")];
const focused = () => document.activeElement.closest(".card");
const reachable = () =>
  [...document.querySelectorAll(".card")].filter((each) => !each.closest("details:not([open])"));

/** Show the picture of `card` that `kind` says. */
function show() {
  const link = shots(card)[kind];
  const small = link.querySelector("img");
  const siblings = [...card.parentElement.children];
  const section = card.closest("section").querySelector("h2").textContent;
  large.src = link.href;
  large.alt = small.alt;
  large.className = small.className;
  viewer.querySelector(".about").replaceChildren(card.querySelector("header").cloneNode(true));
  viewer.querySelector(".place").textContent =
    `${siblings.indexOf(card) + 1} of ${siblings.length} · ${section}`;
  buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === kind));
}

function open(link) {
  card = link.closest(".card");
  viewer.showModal();
  choose(shots(card).indexOf(link));
}

function choose(which) {
  kind = which;
  show();
  buttons[kind].focus();
}

/** The picture that a key stands for: its number or the first letter of its name. The same letter
 * again goes on to the next one with it. -1 for other keys. */
function meant(key) {
  if (/^[1-9]$/.test(key)) return key <= buttons.length ? key - 1 : -1;
  const others = buttons.map((_, i) => (kind + 1 + i) % buttons.length);
  return others.find((i) => buttons[i].lastChild.textContent[0] === key) ?? -1;
}

/** To the next or previous image, in the viewer or on the page. */
function move(step) {
  const all = reachable();
  const from = viewer.open ? card : focused();
  const inView = all.findIndex((each) => each.getBoundingClientRect().bottom > innerHeight / 4);
  const to = all[from ? all.indexOf(from) + step : inView];
  if (!to) return;
  if (!viewer.open && from) kind = shots(from).indexOf(document.activeElement);
  card = to;
  if (viewer.open) show();
  else shots(to)[kind].focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(".shot");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab of its own
  event.preventDefault();
  open(link);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const active = document.activeElement;
  if (event.key in STEPS) {
    const vertical = event.key === "ArrowUp" || event.key === "ArrowDown";
    const scrolls = active.closest(".scroll") || (vertical && !focused());
    if (!viewer.open && event.key.startsWith("Arrow") && scrolls) return; // the browser's
    event.preventDefault();
    move(STEPS[event.key]);
  } else if (viewer.open && meant(event.key) >= 0) {
    choose(meant(event.key));
  } else if (event.key === " " && active.matches(".shot")) {
    event.preventDefault();
    open(active);
  }
});

viewer.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (event.target === viewer || button?.matches(".close")) viewer.close();
  else if (button?.dataset.step) move(Number(button.dataset.step));
  else if (button) choose(buttons.indexOf(button));
});

viewer.addEventListener("close", () => shots(card)[kind].focus());

/** Open the part that a link within the page leads to. */
function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.matches("details")) target.open = true;
}
addEventListener("hashchange", reveal);
reveal();
