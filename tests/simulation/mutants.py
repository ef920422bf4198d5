"""All planted bugs, by the part of custody they spoil."""

from typing import Final

from tests.simulation.planted import holding, judging, pacing, receiving

MUTANTS: Final = (*holding.MUTANTS, *receiving.MUTANTS, *pacing.MUTANTS, *judging.MUTANTS)
