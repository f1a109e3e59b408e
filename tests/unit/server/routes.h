/* What the tests and the handlers of routes.c share. */
#ifndef WEIR_TESTS_SERVER_ROUTES_H
#define WEIR_TESTS_SERVER_ROUTES_H

#include <semaphore.h>
#include <stdatomic.h>

#include "include/weir.h"

extern const struct weir_route stage_routes[];
extern atomic_int routes_ended, routes_last_error;
extern sem_t routes_gate;

#endif
