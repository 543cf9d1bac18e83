"""Names → what predicts: operators to be trained, and references that are not.

To add one: write its file, add its line here. Nothing is imported before it is asked for.
"""

OPERATORS = {
    "mano": "pdebench_mano.mano:MANO",
    "mano-published": "pdebench_mano.mano:PublishedMANO",
    "fno": "baselines.fno:FNO",
    "tfno": "baselines.tfno:TFNO",
    "uno": "baselines.uno:UNO",
    "vit": "baselines.vit:ViT",
    "swin": "baselines.swin:Swin",
    "unet": "baselines.unet:UNet",
    "orthogonal-mlp": "pdebench_mano.orthogonal:GridMLP",
    "orthogonal-fno": "pdebench_mano.orthogonal:OrthogonalFNO",
    "orthogonal-conv": "pdebench_mano.orthogonal:OrthogonalConv",
    "orthogonal-mano": "pdebench_mano.orthogonal:OrthogonalMANO",
    "transolver": "baselines.transolver:Transolver",
    "ho-fno": "baselines.ho_fno:HOFNO",
}

REFERENCES = {
    "upsampled": "baselines.upsampling:Upsampled",
    "solver": "baselines.coarse_solver:CoarseSolver",
    "mean": "baselines.mean_solution:MeanSolution",
    "persistence": "baselines.persistence:Persistence",
}
"""Predictors that stand beside operators without being trained."""
