"""How good a result is: figures under named protocols, next to a baseline, and the page that shows them."""
