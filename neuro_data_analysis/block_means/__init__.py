"""Block means that the authors publish of all 170 paired evolutions, and what follows from them."""
