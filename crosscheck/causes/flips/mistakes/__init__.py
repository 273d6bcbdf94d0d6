"""Flips of mistakes that ports make, by idea: what torch would compute if its code had them, too."""
