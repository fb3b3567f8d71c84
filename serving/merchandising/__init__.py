"""What merchandisers want: rules over what surfaces rank, from a file that is read again when it changes."""
