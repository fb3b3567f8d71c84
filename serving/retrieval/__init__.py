"""From events to items: the user tower, the index, what filters leave, and favourites where nothing is known."""
