"""Arrays in, arrays out: the mathematics under the checks. Opens no file and knows no threshold."""
