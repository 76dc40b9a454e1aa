"""Models that leave home: a checkpoint -> ONNX, safetensors or a package for bioimage.io, each with a model card.

`write` is the verb, `graph` makes and proves ONNX, `package` a package, `card` and `facts` what is told of a model.
"""

from patchseg.export.write import export

__all__ = ["export"]
