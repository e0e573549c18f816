"""A question made into bounded whole numbers: forms, the choice among them, and the SQL that keeps them."""
