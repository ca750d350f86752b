"""The words of syllogisms: names, kinds in singular and plural, properties; real and invented."""

from typing import Annotated

from msgspec import Meta, Struct


class Word(Struct, frozen=True):
    """A unary predicate in English: a kind ("a man", "men") or a property ("mortal")."""

    singular: Annotated[str, Meta(description="Singular, and the name of the predicate: `man`, `mortal`.")]
    plural: Annotated[str, Meta(description="Plural; the same as the singular for a property.")]

    @property
    def is_property(self) -> bool:
        """Whether it is an adjective."""
        return self.singular == self.plural

    @property
    def said_of_one(self) -> str:
        """After "Socrates is": `a man`, `an owl`, `mortal`."""
        if self.is_property:
            return self.singular
        return f"{'an' if self.singular[0] in 'aeiou' else 'a'} {self.singular}"

    @property
    def as_subject(self) -> str:
        """After "All": `men`, `mortal things`."""
        return f"{self.plural} things" if self.is_property else self.plural

    @property
    def as_single_subject(self) -> str:
        """After "Every": `man`, `mortal thing`."""
        return f"{self.singular} thing" if self.is_property else self.singular


NAMES = (
    "Socrates", "Plato", "Hypatia", "Aspasia", "Zeno", "Diotima", "Cato", "Sappho",
    "Ada", "Emmy", "Kurt", "Alan", "Rex", "Tilda", "Momo", "Fenn",
)  # fmt: skip

WORDS = (
    Word("man", "men"), Word("woman", "women"), Word("child", "children"), Word("poet", "poets"),
    Word("sailor", "sailors"), Word("king", "kings"), Word("baker", "bakers"), Word("owl", "owls"),
    Word("fox", "foxes"), Word("wolf", "wolves"), Word("goose", "geese"), Word("ant", "ants"),
    Word("robot", "robots"), Word("ghost", "ghosts"), Word("wug", "wugs"), Word("blick", "blicks"),
    Word("dax", "daxes"), Word("zorp", "zorps"), Word("fep", "feps"), Word("tove", "toves"),
    Word("mortal", "mortal"), Word("wise", "wise"), Word("tall", "tall"), Word("green", "green"),
    Word("honest", "honest"), Word("furry", "furry"), Word("rich", "rich"), Word("brave", "brave"),
)  # fmt: skip

WORD_OF = {word.singular: word for word in WORDS}
"""Predicate name -> its word."""
