"use strict";
// Keyboard and mouse navigation between images, and the large view. Without this script the
// thumbnails are plain links.

const viewer = document.getElementById("viewer");
const largeImage = viewer.querySelector(".large img");
const viewButtons = [...viewer.querySelectorAll(".views button")];
const STEPS = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 };

let currentCard = null; // the card in the viewer, or the last one that was there
let viewIndex = 0;

const thumbnailsOf = (card) => [...card.querySelectorAll(".thumbnail")];
const focusedCard = () => document.activeElement.closest(".card");
const visibleCards = () =>
  [...document.querySelectorAll(".card")].filter((card) => !card.closest("details:not([open])"));

/** Show the current view of the current card in the viewer. */
function updateViewer() {
  const link = thumbnailsOf(currentCard)[viewIndex];
  const thumbnail = link.querySelector("img");
  const siblings = [...currentCard.parentElement.children];
  const section = currentCard.closest("section").querySelector("h2").textContent;
  largeImage.src = link.href;
  largeImage.alt = thumbnail.alt;
  largeImage.className = thumbnail.className;
  const header = currentCard.querySelector("header").cloneNode(true);
  viewer.querySelector(".caption").replaceChildren(header);
  viewer.querySelector(".position").textContent =
    `${siblings.indexOf(currentCard) + 1} of ${siblings.length} · ${section}`;
  viewButtons.forEach((button, i) => button.setAttribute("aria-pressed", i === viewIndex));
}

function openViewer(link) {
  currentCard = link.closest(".card");
  viewer.showModal();
  selectView(thumbnailsOf(currentCard).indexOf(link));
}

function selectView(index) {
  viewIndex = index;
  updateViewer();
  viewButtons[viewIndex].focus();
}

/** Return the index of the view that a key selects: by its number or by the first letter of its
 * title. The same letter again selects the next view with it. Return -1 for other keys. */
function viewForKey(key) {
  if (/^[1-9]$/.test(key)) return key <= viewButtons.length ? key - 1 : -1;
  const candidates = viewButtons.map((_, i) => (viewIndex + 1 + i) % viewButtons.length);
  return candidates.find((i) => viewButtons[i].lastChild.textContent[0] === key) ?? -1;
}

/** Go to the next or previous image, in the viewer or on the page. */
function moveBy(step) {
  const cards = visibleCards();
  const from = viewer.open ? currentCard : focusedCard();
  const firstInView = cards.findIndex(
    (card) => card.getBoundingClientRect().bottom > innerHeight / 4,
  );
  const target = cards[from ? cards.indexOf(from) + step : firstInView];
  if (!target) return;
  if (!viewer.open && from) viewIndex = thumbnailsOf(from).indexOf(document.activeElement);
  currentCard = target;
  if (viewer.open) updateViewer();
  else thumbnailsOf(target)[viewIndex].focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(".thumbnail");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // opens a new tab
  event.preventDefault();
  openViewer(link);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const active = document.activeElement;
  if (event.key in STEPS) {
    const vertical = event.key === "ArrowUp" || event.key === "ArrowDown";
    const scrolls = active.closest(".scroll") || (vertical && !focusedCard());
    if (!viewer.open && event.key.startsWith("Arrow") && scrolls) return; // let the browser scroll
    event.preventDefault();
    moveBy(STEPS[event.key]);
  } else if (viewer.open && viewForKey(event.key) >= 0) {
    selectView(viewForKey(event.key));
  } else if (event.key === " " && active.matches(".thumbnail")) {
    event.preventDefault();
    openViewer(active);
  }
});

viewer.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (event.target === viewer || button?.matches(".close")) viewer.close();
  else if (button?.dataset.step) moveBy(Number(button.dataset.step));
  else if (button) selectView(viewButtons.indexOf(button));
});

viewer.addEventListener("close", () => thumbnailsOf(currentCard)[viewIndex].focus());

/** Open the collapsed section that a link within the page leads to. */
function openLinkTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.matches("details")) target.open = true;
}
addEventListener("hashchange", openLinkTarget);
openLinkTarget();
