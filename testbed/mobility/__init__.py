"""Who is where: traces of movement, and the moves that follow from them."""
