"""`rnndsl verify`: whether a cell's layers are right here, one check a line.

settings   what is asked for                 sizes      numbers for a cell's sizes, divisions included
subject    layers, and what they are given   runs       ways to run a sequence: whole, in halves, step by step, apart, interpreted
observe    outputs, states and gradients     compare    the largest difference, what is allowed, and where it lies
finding    a line of the page                checks     the table of checks
equations, agreement, gradcheck, jacobian, consistency, schedules, noise, throughput: the checks
run        all of it, from settings to a report         page, command       for people, as data, at the command line
"""
