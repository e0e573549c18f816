"""A statistical question on its way: asked, prepared, drawn, answered and certified."""
