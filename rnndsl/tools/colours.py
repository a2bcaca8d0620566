"""The colours of pictures of cells."""

INK, GREY, BLUE, RED, PAPER = "#1f2933", "#9aa5b1", "#2563a8", "#c2410c", "#ffffff"
EMPTY, MIXED, OWN = "#f7f9fb", "#a9c7e8", "#123f73"  # of a Jacobian: nothing, through an operation that mixes channels, channel by channel
