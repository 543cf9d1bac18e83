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
    "lrsa": "baselines.lrsa:LRSA",
}

PAPERS = {
    "mano": "Colagrande et al. 2025, arXiv 2507.02748",
    "mano-published": "Colagrande et al. 2025, arXiv 2507.02748",
    "fno": "Li et al. 2021, arXiv 2010.08895",
    "tfno": "Kossaifi et al. 2024, arXiv 2310.00120",
    "uno": "Rahman et al. 2022, arXiv 2204.11127",
    "vit": "Dosovitskiy et al. 2021, arXiv 2010.11929",
    "swin": "Liu et al. 2022, arXiv 2111.09883",
    "unet": "Ronneberger et al. 2015, arXiv 1505.04597",
    "orthogonal-mlp": "FOTON, arXiv 2512.20668",
    "orthogonal-fno": "FOTON, arXiv 2512.20668, on Li et al. 2021, arXiv 2010.08895",
    "orthogonal-conv": "FOTON, arXiv 2512.20668, on Trockman & Kolter 2021, arXiv 2104.07167",
    "orthogonal-mano": "FOTON, arXiv 2512.20668, on Colagrande et al. 2025, arXiv 2507.02748",
    "transolver": "Wu et al. 2024, arXiv 2402.02366",
    "ho-fno": "Colagrande et al. 2026, arXiv 2606.28122",
    "lrsa": "Yang et al. 2026, arXiv 2604.03582",
}
"""What their classes, which import PyTorch, say as `paper`."""

REFERENCES = {
    "upsampled": "baselines.upsampling:Upsampled",
    "solver": "baselines.coarse_solver:CoarseSolver",
    "mean": "baselines.mean_solution:MeanSolution",
    "persistence": "baselines.persistence:Persistence",
}
"""Predictors that stand beside operators without being trained."""
