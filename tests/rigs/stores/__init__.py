"""S3 stores: SeaweedFS, Ceph, a proxy that fails on purpose, an identity provider."""
