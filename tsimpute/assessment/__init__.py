"""How good a fitted model is: cells are hidden, filled and scored."""
