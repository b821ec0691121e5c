(function () {
"use strict";
var each = function (list, f) { Array.prototype.forEach.call(list, f); };
var boxes = document.querySelectorAll("input[data-toggle]");
each(boxes, function (box) {
  box.checked = true;
  box.addEventListener("change", function () {
    var everywhere = box.getAttribute("data-toggle") === "all";
    var scope = everywhere ? document : box.closest("figure");
    each(scope.querySelectorAll("[data-line]"), function (part) {
      if (part.getAttribute("data-line") === box.value) { part.classList.toggle("off", !box.checked); }
    });
    if (everywhere) { each(boxes, function (other) { if (other.value === box.value) { other.checked = box.checked; } }); }
  });
});
var tip = document.getElementById("page.tip");
var shown = null;
var hide = function () {
  if (shown) { shown.title.textContent = shown.text; }
  shown = null;
  tip.hidden = true;
};
var titleOf = function (element) {
  for (var at = element; at; at = at.parentElement) {
    if (at.localName === "svg") { return null; }
    if (at.firstElementChild) { if (at.firstElementChild.localName === "title") { return at.firstElementChild; } }
  }
  return null;
};
document.addEventListener("pointerover", function (event) {
  var inside = event.target.closest ? event.target.closest("svg.lopper") : null;
  var title = inside ? titleOf(event.target) : null;
  if (shown) { if (shown.title === title) { return; } }
  hide();
  if (!title) { return; }
  shown = { title: title, text: title.textContent };
  title.textContent = "";
  tip.textContent = shown.text;
  tip.hidden = false;
});
document.addEventListener("pointermove", function (event) {
  if (!shown) { return; }
  var x = Math.max(4, Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 6));
  var y = event.clientY - tip.offsetHeight - 12;
  tip.style.left = x + "px";
  tip.style.top = (y > 4 ? y : event.clientY + 18) + "px";
});
each(document.querySelectorAll("button[data-svg]"), function (button) {
  button.addEventListener("click", function () {
    var name = button.getAttribute("data-svg");
    var copy = document.getElementById(name).querySelector("svg.lopper").cloneNode(true);
    var style = document.createElementNS("http://www.w3.org/2000/svg", "style");
    style.textContent = document.getElementById("page.drawing-style").textContent;
    copy.insertBefore(style, copy.firstChild);
    var blob = new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
    var link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name + ".svg";
    link.click();
    URL.revokeObjectURL(link.href);
  });
});
each(document.querySelectorAll("button[data-copy]"), function (button) {
  button.addEventListener("click", function () {
    var range = document.createRange();
    range.selectNode(button.parentElement.querySelector("table"));
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it now";
  });
});
})();
