"""What tests/guests/echo is in Rust, by the same WIT: each function gives back what it got."""

import wit_world
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.values import Colour, Permissions

# The same names as in WIT, in the order of their declaration.
PERMISSIONS = {Permissions.READ: "read", Permissions.WRITE: "write", Permissions.EXECUTE_ALL: "execute-all"}


def same(_self, value):
    """What it got, made of Python's own values on the way."""
    return value


def attempt(_self, value):
    """A result as the result: what is raised is the tool's error."""
    if isinstance(value, Err):
        raise value
    return value.value


class Values(exports.Values):
    """The interface."""

    truth = unsigned8 = unsigned16 = unsigned32 = unsigned64 = same
    signed8 = signed16 = signed32 = signed64 = float32 = float64 = same
    character = text = bytes = texts = matrix = structure = pair = same
    choice = enumeration = set = maybe = maybe_maybe = outcome = same
    characters = pairs = gaps = many_flags = every_outcome = maybe_choice = nested = same
    attempt = attempt_ok = attempt_err = attempt

    def bare_attempt(self, fail):
        if fail:
            raise Err(None)

    def structured_failure(self, value):
        raise Err(value)

    def several(self, first, second, third):
        some = "None" if second is None else f"Some({second})"
        return f"{first} {some} [{', '.join(str(one).lower() for one in third)}]"

    def seventeen(self, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q):
        numbers = [str(number) for number in (a, b, c, d, e, f, g, h)] + [f"{i:g}", f"{j:g}"]
        colour = {Colour.RED: "red", Colour.DARK_GREEN: "dark-green", Colour.BLUE: "blue"}[o]
        flags = "+".join(name for flag, name in PERMISSIONS.items() if flag in p)
        point = "none" if q is None else f"{q.x},{q.y}"
        return " ".join(numbers + [str(k).lower(), l, m, "+".join(map(str, n)), colour, flags, point])

    def nothing(self):
        pass

    def constant(self):
        return 42

    def long_text(self, characters):
        return "x" * characters

    def long_bytes(self, count):
        return b"\x07" * count


class WitWorld(wit_world.WitWorld):
    """The world's own function."""

    def shout(self, text):
        return text.upper()
