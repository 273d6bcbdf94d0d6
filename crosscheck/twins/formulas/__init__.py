"""Outside oracles: the formula of every twin, written out from the specification and differentiated by torch.

A mistake made alike in both twins, or in code that both share, leaves them equal; here each is compared with an
implementation that shares nothing with it but the names of the weights and the bits of the dropout masks.
"""
