// All that the functions of instructions use.
#pragma once
#include <cstdlib>

#include "copies.h"
#include "matrix.h"
#include "watch.h"
