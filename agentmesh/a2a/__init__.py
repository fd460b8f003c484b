"""A2A: the protocol that agents of other frameworks are reached by, and reach ours by.

rocketmq/  A2A 0.3 over RocketMQ, as rocketmq-a2a speaks it
"""
