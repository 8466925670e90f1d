from copy import deepcopy

import torch
from torch import nn
from torch.optim import SGD

from diffrect.methods.supervised import Supervised, SupervisedOptions
from support.stubs import a_problem


def test_the_fused_step_is_that_of_plain_sgd() -> None:
    """Also where a parameter has its first gradient later than others."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    theirs = deepcopy(ours)
    problem = a_problem(channels=1, classes=2, iterations=10)
    fused = Supervised(problem, SupervisedOptions()).sgd(ours)
    settings = {"momentum": problem.momentum, "weight_decay": problem.weight_decay}
    plain = SGD(theirs.parameters(), lr=problem.rate, **settings)
    for step in range(4):
        images = torch.rand(5, 3)
        for network, optimizer in ((ours, fused), (theirs, plain)):
            optimizer.zero_grad(set_to_none=True)
            features = network[0](images)
            network[1](features if step >= 2 else features.detach()).sum().backward()
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
