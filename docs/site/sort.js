// A click on a head of a table of class `sortable` sorts its rows by that column; another turns them round.
document.addEventListener("click", (event) => {
  const head = event.target.closest(".sortable th");
  if (!head) return;
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const down = table.dataset.column === String(column) && table.dataset.down !== "yes";
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((a, b) => text(a).localeCompare(text(b), "en", { numeric: true }));
  body.append(...(down ? rows.reverse() : rows));
  Object.assign(table.dataset, { column, down: down ? "yes" : "no" });
});
// What is typed into a field of class `filter` leaves the rows of the table that have all of its words.
document.addEventListener("input", (event) => {
  if (!event.target.matches("input.filter")) return;
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll(".sortable tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});
