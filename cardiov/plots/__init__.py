"""Figures: tables in, figures unknown to pyplot out; no statistics and no torch. Each takes its title and is `style.styled`."""
