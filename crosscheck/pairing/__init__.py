"""Which tensor of one side belongs to which tensor of the other: names, layouts, preconditions, suggestions."""
