"""The neural model: one branch per modality, fusion, one head per target.

`settings` is its configuration, and all that `toolkit.models` imports, so that a command which needs no
network does not pay for loading torch. `tabular`, `sequence`, `graph`, `image`, `fusion`, `heads`, `losses` and
`network` are pure modules, tensors in and tensors out; `pretrained` reads networks that others trained. `scaling`
and `batches` bring rows to them, `training` and `loop` fit (the only ones that know Lightning), `fitted` scores.
"""
