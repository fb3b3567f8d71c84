"""What a buyer is worth: purchases to come, the chance to be lost, the value of what is to come."""
