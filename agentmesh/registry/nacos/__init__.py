"""The registry on Nacos. Cards, versions and routes are its documents; who is alive are its ephemeral instances."""

from agentmesh.registry.nacos.registry import NacosRegistry, open_nacos

__all__ = ["NacosRegistry", "open_nacos"]
