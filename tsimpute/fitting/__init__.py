"""From the user's data to a fitted model, or to one with other weights, heads or steps."""
