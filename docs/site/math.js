// What MathJax typesets: elements of class `equations`, and nothing else.
window.MathJax = { options: { ignoreHtmlClass: ".*|", processHtmlClass: "equations" } };
