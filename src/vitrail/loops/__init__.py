"""Train → look → make data → train again. A loop is a recipe's field ``loop``; docs/loops.md."""
