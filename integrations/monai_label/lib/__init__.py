"""Parts of the app; MONAI Label loads them anew for each app that it opens."""
