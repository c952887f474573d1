"""Defences inside a training loop of your own.

EPIC leaves out, while training, what pulls the model where nobody else of its class does. Beside an ordinary loop:

>>> import torch
>>> from torch.utils.data import DataLoader, TensorDataset
>>> from sanitizer.training.epic import Epic
>>> from sanitizer.training.sampler import KeptSampler
>>> draw = torch.Generator().manual_seed(0)
>>> images, labels = torch.randn(60, 4, generator=draw), torch.arange(60) % 2
>>> plain = TensorDataset(images, labels)  # without augmentation; what is trained on may have it
>>> model = torch.nn.Linear(4, 2)
>>> optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
>>> epic = Epic(labels, warmup=2, every=2, until=5)
>>> sampler = KeptSampler(epic, seed=0)
>>> loader = DataLoader(plain, batch_size=16, sampler=sampler)
>>> for epoch in range(6):
...     dropped = epic(epoch, model, plain)
...     sampler.set_epoch(epoch)
...     for batch, answers in loader:
...         optimiser.zero_grad()
...         torch.nn.functional.cross_entropy(model(batch), answers).backward()
...         optimiser.step()
>>> [found.epoch for found in epic.rounds]
[2, 4]

``epic.state_dict()`` goes into your checkpoint. Lightning and the Hugging Face Trainer: ``sanitizer.integrations``.
"""
