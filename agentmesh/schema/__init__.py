"""What goes into a skill and what comes out: Python types to JSON Schema and back, and validation of both.

`Parameters` and `Returns` read a function's types through pydantic, `Checked` validates against a JSON Schema of one's
own, `merge` brings the two together. All report every mistake in one go, each with the JSON pointer to its place.
pydantic and jsonschema take longer to import than everything else here together: they are imported when first used.
"""

from agentmesh.schema.checked import Checked, schema_mistakes
from agentmesh.schema.functions import Parameters, Returns, convert, without_titles
from agentmesh.schema.merging import Merged, merge
from agentmesh.schema.places import Misfit, failure, steps_of

__all__ = [
    "Checked",
    "Merged",
    "Misfit",
    "Parameters",
    "Returns",
    "convert",
    "failure",
    "merge",
    "schema_mistakes",
    "steps_of",
    "without_titles",
]
