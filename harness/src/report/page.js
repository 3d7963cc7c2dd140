// Shows only what has the words that one looks for; what is folded unfolds for it, and folds again.
const search = document.querySelector(".search");
const input = search.querySelector("input");
const parts = [...document.querySelectorAll(".row:not(.axis), table.events tr, .entries pre")];
const folds = [...document.querySelectorAll("details")].map(fold => [fold, fold.open]);
search.hidden = false;
input.addEventListener("input", () => {
  const words = input.value.toLowerCase().split(/\s+/).filter(word => word);
  let found = 0;
  for (const part of parts) {
    const text = words.length ? part.textContent.toLowerCase() : "";
    const fits = words.every(word => text.includes(word));
    part.hidden = !fits;
    found += fits;
  }
  for (const [fold, open] of folds) {
    const own = fold.querySelector(".row, table.events tr, .entries pre");
    fold.open = words.length && own ? parts.some(part => !part.hidden && fold.contains(part)) : open;
  }
  search.querySelector("output").textContent = words.length ? `${found} of ${parts.length}` : "";
});
