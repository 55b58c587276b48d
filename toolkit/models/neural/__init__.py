"""The parts of the neural model: one branch per modality, fusion, one head per target, losses.

Pure PyTorch modules: tensors in, tensors out, no files, no data frames, no training loop. Nothing here is
imported by `toolkit.models`, so that a command which needs no network does not pay for loading torch.
"""
