"""A long film made in pieces, by as many processes as there are: looked at once, made piece by piece, joined without a seam."""

from .film import join, make_piece, plan_film
from .plan import FilmPlan, load_plan, save_plan

__all__ = ["FilmPlan", "join", "load_plan", "make_piece", "plan_film", "save_plan"]
