"""Supervisors: agents that reach a goal by calling other agents.

agent.py      Supervisor: the loop, journaled step by step
functions.py  skills as functions of a language model
model.py      ModelPlanner: a language model decides
rule.py       RulePlanner: no model, a plan by retrieval and data flow
"""

from agentmesh.supervisor.agent import Budget, Supervisor

__all__ = ["Budget", "Supervisor"]
