"""Moving a mesh: everything that one holds, as a stream of records that another takes in.

frames.py     the file: checked, compressed frames, one after another
records.py    what is in them
part.py       the file while it is written, and going on with one that was cut short
sofar.py      what such a file holds already
history.py    what of the log of a call that is not over goes with it
large.py      large bodies, out of one blob store and into another
exporting.py  from a mesh to records
importing.py  from records to a mesh
placing.py    tasks that had begun, and dead letters
journal.py    how far an import is, told by the mesh that it fills

Only the contracts are used, so that any two meshes will do.
"""

from agentmesh.runtime.transfer.exporting import export_mesh
from agentmesh.runtime.transfer.importing import Imported, check_whole, import_mesh
from agentmesh.runtime.transfer.part import Part, Sink, open_part, write_to
from agentmesh.runtime.transfer.place import Place
from agentmesh.runtime.transfer.sofar import Sofar

__all__ = [
    "Imported",
    "Part",
    "Place",
    "Sink",
    "Sofar",
    "check_whole",
    "export_mesh",
    "import_mesh",
    "open_part",
    "write_to",
]
