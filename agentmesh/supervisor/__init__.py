"""Supervisors: agents that reach a goal by calling other agents.

agent.py      Supervisor: the loop, journaled step by step
model.py      ModelPlanner: a language model decides; exposure.py which functions it gets, functions.py, strict.py and
              tokens.py how they look and what they cost
rule.py       RulePlanner: no model; plan.py a plan by clauses (clauses.py), retrieval (retrieval.py) and data flow
              (chain.py), arguments.py what a text (said.py, dates.py, numbers.py, places.py) gives to parameters
"""

from agentmesh.supervisor.agent import Budget, Supervisor

__all__ = ["Budget", "Supervisor"]
